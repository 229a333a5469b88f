"""A job's folders on this machine, laid out as in the container.

<jobs>/<job>/<host>/            kept: output.log
             └── opt/ml/        gone when the job has ended
                 ├── input/config/{hyperparameters,inputdataconfig,resourceconfig}.json
                 ├── input/data/<channel>/
                 ├── model/  output/data/  checkpoints/
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.jobs.contract import ContainerPaths

LOG_NAME = "output.log"
GROUP_NAME = "homogeneousCluster"  # the service's name for the only group


def host_names(count: int) -> list[str]:
    return sorted(f"algo-{number}" for number in range(1, count + 1))


def base(jobs: Path, job: str, host: str) -> Path:
    """The host's /opt/ml."""
    return jobs / job / host / "opt" / "ml"


def prepare(jobs: Path, record: Mapping[str, Any], hosts: Sequence[str], interface: str) -> list[Path]:
    """Make every host's folders and configuration anew; what an earlier attempt left is removed.

    interface: of the network that the hosts share.
    """
    bases = [base(jobs, record["TrainingJobName"], host) for host in hosts]
    clean(jobs, record["TrainingJobName"], hosts)
    for host, root in zip(hosts, bases, strict=True):
        paths = ContainerPaths(root)
        for folder in (paths.config, paths.config.parent / "data", paths.model, paths.output_data):
            folder.mkdir(parents=True)
        _write(paths.hyperparameters, record.get("HyperParameters", {}))
        _write(paths.input_data_config, input_data_config(record))
        _write(paths.resource_config, resource_config(record, host, hosts, interface))
    return bases


def clean(jobs: Path, job: str, hosts: Sequence[str]) -> None:
    """Free the disk: everything of the job but its logs."""
    for host in hosts:
        shutil.rmtree(jobs / job / host / "opt", ignore_errors=True)


def input_data_config(record: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """inputdataconfig.json: what the service tells the program of each channel."""
    mode = record["AlgorithmSpecification"]["TrainingInputMode"]
    return {
        channel["ChannelName"]: {
            **({"ContentType": channel["ContentType"]} if "ContentType" in channel else {}),
            "TrainingInputMode": channel.get("InputMode", mode),
            "S3DistributionType": channel["DataSource"]["S3DataSource"].get(
                "S3DataDistributionType", "FullyReplicated"
            ),
            "RecordWrapperType": channel.get("RecordWrapperType", "None"),
        }
        for channel in record.get("InputDataConfig", ())
    }


def resource_config(
    record: Mapping[str, Any], host: str, hosts: Sequence[str], interface: str
) -> dict[str, Any]:
    """resourceconfig.json: who the program's own host is, and who the others are."""
    kind = record["ResourceConfig"]["InstanceType"]
    group = {"instance_group_name": GROUP_NAME, "instance_type": kind, "hosts": list(hosts)}
    return {
        "current_host": host,
        "current_instance_type": kind,
        "current_group_name": GROUP_NAME,
        "hosts": list(hosts),
        "instance_groups": [group],
        "network_interface_name": interface,
    }


def _write(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document, indent=2))
