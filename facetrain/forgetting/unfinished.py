"""Uploads of pictures that were cut off: what has arrived of them is no version of an object, and is kept.

Nobody can look into their parts, so every one of the scope is ended. Whoever pushes again sends them anew.
"""

from typing import Any

from botocore.exceptions import ClientError

from facetrain.client import code
from facetrain.forgetting.places import Note
from facetrain.forgetting.removal import Left
from training.jobs import contract
from training.jobs.forgotten import EVERY_DATASET

KIND = "unfinished uploads"


def end(s3: Any, bucket: str, dataset: str, note: Note) -> list[Left]:
    """Ends those of one dataset, or of EVERY_DATASET; gives what could not be listed or ended."""
    folder = contract.INPUTS_PREFIX + ("" if dataset == EVERY_DATASET else f"{dataset}/")
    left, ended = [], 0
    try:
        pages = s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=folder)
        uploads = [(one["Key"], one["UploadId"]) for page in pages for one in page.get("Uploads", ())]
    except ClientError as error:
        return [Left(dataset, KIND, folder, code(error))]
    for key, name in uploads:
        try:
            s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=name)
            ended += 1
        except ClientError as error:
            if code(error) != "NoSuchUpload":  # completed meanwhile, or ended by others
                left.append(Left(dataset, KIND, key, code(error)))
    if ended:
        note(f"{ended} unfinished uploads were ended, for nobody can look into them")
    return left
