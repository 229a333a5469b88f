"""What `dataset check` says of a detector's data, as a table."""

from collections.abc import Iterator, Mapping
from typing import Any

from facetrain.cli import output

SHOWN = 10  # details of each kind at the most; --json has more
LISTS = {
    "unreadable": "unreadable",
    "beyond": "classes that nothing names",
    "faults": "rows that cannot be read",
    "missing_labels": "pictures without a label file",
    "labels_without_picture": "label files without a picture",
}

Report = Mapping[str, Any]


def put(report: Report) -> None:
    output.put_fields({name: output.visible(str(value)) for name, value in _figures(report)})
    if report["classes"]:
        output.put("\nboxes of each class")
    for one in report["classes"][:SHOWN]:
        name = one["name"] if one["name"] is not None else ""
        output.put(output.visible(f"{one['class']:>9}  {one['boxes']:>9,}  {name}").rstrip())
    if (more := len(report["classes"]) - SHOWN) > 0:
        output.put(f"  … {more:,} more (--json lists all)")
    put_details({title: report[name] for name, title in LISTS.items()})
    put_sentences(report)


def put_details(lists: Mapping[str, Report]) -> None:
    """By title: `count` things, of which `listed` are the first."""
    for title, one in lists.items():
        if one["count"]:
            output.put(f"\n{title}")
        for line in one["listed"][:SHOWN]:
            output.put(f"  {output.visible(line)}")
        if one["count"] > SHOWN:
            output.put(f"  … {one['count'] - SHOWN:,} more (--json lists up to 1,000)")


def put_sentences(report: Report) -> None:
    """What would harm training, and what to do."""
    for title, sentences in (("harm", report["harm"]), ("advice", report["advice"])):
        if sentences:
            output.put(f"\n{title}")
        for sentence in sentences:
            output.put(f"  {output.visible(sentence)}")
    if not report["harm"]:
        output.put("\nnothing that would harm training")


def _figures(report: Report) -> Iterator[tuple[str, object]]:
    splits = ", ".join(f"{name} {count:,}" for name, count in report["splits"].items() if name != ".")
    yield "images", f"{report['images']:,}" + (f" ({splits})" if splits else "")
    yield "label files", f"{report['labels']:,}, of which {report['empty_labels']['count']:,} have no box"
    yield "boxes", f"{report['boxes']:,}"
    yield "classes", f"{report['named']:,}" if report["named"] else "not named"
    yield "bytes", output.size(report["bytes"])
    yield "unreadable", f"{report['unreadable']['count']:,}"
    yield "duplicates", f"{report['duplicates']:,} further copies"
