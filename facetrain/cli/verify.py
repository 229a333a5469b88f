"""`verify`."""

# ruff: noqa: PLC0415 - what a command needs is imported when it runs: --help must not wait for boto3

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from facetrain.cli import output
from facetrain.cli.options import AsJson, Cloud, Local, Stage, connection

Figures = Mapping[str, Any]

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A job's model folder or model.tar.gz, .pth, .pt, .safetensors or .onnx; or one at s3://.",
        show_default=False,
    ),
]
Set = Annotated[
    str,
    typer.Argument(
        metavar="SET",
        help="A .bin, pairs.txt, pairs.csv, or a folder of identities or of sets; or one at s3://.",
        show_default=False,
    ),
]
Images = Annotated[
    str | None,
    typer.Option(
        metavar="DIR", help="Where the pairs' images are.  [default: beside the list]", show_default=False
    ),
]
MaxUnreadable = Annotated[
    float, typer.Option(min=0, max=1, help="Largest share of missing or unreadable images.")
]


def verify(
    model: Model,
    chosen: Set,
    *,
    images: Images = None,
    max_unreadable: MaxUnreadable = 0.1,
    as_json: AsJson = False,
    stage: Stage = None,
    local: Local = False,
    cloud: Cloud = None,
) -> None:
    """Measure how well a model tells people apart. Needs the trainer's packages."""
    from facetrain import verify as verification

    def s3() -> Any:
        return connection(local, cloud, stage)[0].client("s3")

    with output.refusals(as_json):
        found = verification.verify(
            model, chosen, images, max_unreadable=max_unreadable, s3=s3, say=output.say
        )
    if as_json:
        output.put_json(found)
    else:
        _put(found)


def _put(found: Figures) -> None:
    """A column a set, and their mean; then groups. Why a figure is missing goes to the person."""
    sets: dict[str, Figures] = dict(found.get("sets") or {_name(found): found})
    columns = [*sets.values(), found] if len(sets) > 1 else list(sets.values())
    rows = [[label, *(_shown(column, label) for column in columns)] for label in _labels(columns)]
    output.put_table(["figure", *sets, *(["mean"] if len(sets) > 1 else [])], rows)
    for name, own in sets.items():
        if groups := own.get("groups"):
            output.put(f"\ngroups of {name}, at threshold {own['threshold']:.4f}")
            output.put_table(
                ("group", "genuine", "impostor", "TAR", "FAR", "accuracy"), list(_group_rows(groups))
            )
        for figure, reason in own["refused"].items():
            output.say(f"{name}: no {figure}: {reason}")


def _name(found: Figures) -> str:
    return str(found["set"]).rstrip("/").rpartition("/")[2]


def _labels(columns: list[Figures]) -> Iterator[str]:
    """What the rows are called: every rate that a set allows."""
    fars = sorted({far for column in columns for far in column["tar_at_far"]})
    yield from ("genuine pairs", "impostor pairs", "accuracy", "EER", "AUC", "rank-1")
    yield from (f"TAR at FAR {far}" for far in fars)
    yield "threshold"
    yield from (f"threshold at FAR {far}" for far in fars)


def _shown(figures: Figures, label: str) -> str:
    kind, _, far = label.rpartition(" at FAR ")
    if kind == "TAR":
        return _percent(figures["tar_at_far"].get(far))
    if kind == "threshold":
        return _number(figures["threshold_at_far"].get(far))
    if label == "accuracy":
        spread = f" ± {100 * figures['accuracy_std']:.2f}" if figures["accuracy_std"] is not None else ""
        return _percent(figures["accuracy"]) + spread
    if label in ("EER", "rank-1"):
        return _percent(figures[label.lower().replace("-", "_")])
    if label in ("AUC", "threshold"):
        return _number(figures[label.lower()])
    return f"{figures[label.partition(' ')[0]]:,}"


def _group_rows(groups: Mapping[str, Figures]) -> Iterator[list[str]]:
    for name, own in groups.items():
        rates = [_percent(own.get(rate)) for rate in ("tar", "far", "accuracy")]
        yield [name, f"{own['genuine']:,}", f"{own['impostor']:,}", *rates]
        if "refused" in own:
            output.say(f"group {name}: {own['refused']}")


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f} %"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
