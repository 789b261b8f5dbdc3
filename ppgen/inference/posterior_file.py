"""A posterior in a netCDF file: ArviZ's groups, and everything needed to resume.

ArviZ reads such a file like any other. The group ``ppgen`` holds the rest: the draws in
unconstrained space, the state of the chains, the data, and a JSON document. No code is stored.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray

from ppgen.errors import StorageError
from ppgen.findings import Finding
from ppgen.inference import arviz_compat
from ppgen.inference.method import Drawn, Method, Request
from ppgen.inference.methods import is_registered, make_method
from ppgen.inference.weights import LogEvidence
from ppgen.program.arguments import is_array
from ppgen.storage import check_writable

__all__ = ["StoredPosterior", "read_posterior", "write_posterior"]

_GROUP = "ppgen"
_FORMAT = 2  # 1 had findings as sentences


class StoredPosterior(NamedTuple):
    """The contents of a posterior file: everything but the program and what can be recomputed.

    Attributes:
        data: the program's data; objects that are neither arrays nor JSON values are missing.
        settings, request, drawn, seconds, coords, dims: as in :class:`~ppgen.inference.posterior.Posterior`.
    """

    data: Mapping[str, Any]
    settings: Method
    request: Request
    drawn: Drawn
    seconds: float
    coords: Mapping[str, Any]
    dims: Mapping[str, Any]


def write_posterior(path: str | os.PathLike[str], groups: Any, posterior: StoredPosterior) -> Path:
    """Write a posterior atomically.

    Args:
        path: the file, by convention ``*.nc``.
        groups: the posterior as ArviZ data.
        posterior: what is written next to them.

    Raises:
        StorageError: if the path cannot be written, or an option cannot be stored.
    """
    path = check_writable(path)
    document, arrays = _document(posterior), _arrays(posterior.data, posterior.drawn)
    own = xarray.Dataset(
        {
            name: ([f"{name}_{axis}" for axis in range(array.ndim)], array)
            for name, array in arrays.items()
            if array.size
        },
        attrs={"document": json.dumps(document, default=np.generic.item)},
    )
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        whole = Path(folder) / path.name
        arviz_compat.write_netcdf(groups, whole)
        own.to_netcdf(whole, mode="a", group=_GROUP, engine="h5netcdf")
        os.replace(whole, path)
    return path


def read_posterior(path: str | os.PathLike[str], method: Method | None = None) -> StoredPosterior:
    """Read what :func:`write_posterior` wrote.

    Args:
        path: the file.
        method: the method that drew, if it is not one of ppgen's.

    Raises:
        StorageError: if the file is missing, damaged, or not a posterior that ppgen saved; or if another
            method drew it than the one given, or than any that ppgen has.
    """
    path = Path(path)
    try:
        with xarray.open_dataset(path, group=_GROUP, engine="h5netcdf") as own:
            document = json.loads(own.attrs["document"])
            arrays = {str(name): np.asarray(values) for name, values in own.items()}
    except (OSError, KeyError, ValueError) as error:
        raise StorageError(
            "path",
            got=f"{path}, which is missing, damaged, or not of ppgen ({type(error).__name__}: {error})",
            expected="a file that Posterior.save wrote",
            fix="Check the path. arviz.from_netcdf reads the netCDF files of others.",
        ) from error
    if document["format"] > _FORMAT:
        raise StorageError(
            "path",
            got=f"{path}, of format {document['format']}",
            expected=f"a posterior of format {_FORMAT} or older",
            fix="Upgrade: pip install --upgrade ppgen",
        )
    if document["options"] is None if method is None else method.name != document["method"]:
        raise StorageError(
            "method",
            got="none" if method is None else repr(method.name),
            expected=f"the method {document['method']!r}, which drew {path} and is not one of ppgen's",
            fix="Write Posterior.load(path, program, method=...), with an object of its class.",
        )
    return StoredPosterior(
        data=document["data"] | _under(arrays, "data"),
        settings=method or make_method(document["method"], document["options"]),
        request=Request(*[*document["request"], False]),
        drawn=_drawn(document, arrays),
        seconds=document["seconds"],
        coords=document["coords"],
        dims=document["dims"],
    )


def _document(posterior: StoredPosterior) -> dict[str, Any]:
    drawn, settings = posterior.drawn, posterior.settings
    return {
        "format": _FORMAT,
        "method": settings.name,
        "options": _options(settings) if is_registered(settings) else None,
        "request": posterior.request[:-1],
        "data": {name: value for name, value in posterior.data.items() if _is_json(value)},
        "seconds": posterior.seconds,
        "coords": {name: np.asarray(values).tolist() for name, values in posterior.coords.items()},
        "dims": {name: list(values) for name, values in posterior.dims.items()},
        "khat": drawn.khat,
        "ess": drawn.ess,
        "log_evidence": drawn.log_evidence,
        "findings": [asdict(finding) for finding in drawn.findings],
        "how": drawn.how,
        "cites": drawn.cites,
    }


def _arrays(data: Mapping[str, Any], drawn: Drawn) -> dict[str, np.ndarray]:
    arrays = {"positions": drawn.positions} | _named("stats", drawn.stats) | _named("state", drawn.state)
    arrays |= _named("data", {name: value for name, value in data.items() if is_array(value)})
    if drawn.log_weights is not None:
        arrays["log_weights"] = drawn.log_weights
    if drawn.warmup is not None:
        arrays |= {"warmup": drawn.warmup.positions} | _named("warmup_stats", drawn.warmup.stats)
    return arrays


def _drawn(document: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Drawn:
    evidence = document["log_evidence"]
    warmup = Drawn(arrays["warmup"], _under(arrays, "warmup_stats")) if "warmup" in arrays else None
    return Drawn(
        arrays["positions"],
        _under(arrays, "stats"),
        log_weights=arrays.get("log_weights"),
        log_evidence=None if evidence is None else LogEvidence(*evidence),
        khat=document["khat"],
        ess=document["ess"],
        findings=tuple(_finding(stored) for stored in document["findings"]),
        how=document["how"],
        warmup=warmup,
        state=_under(arrays, "state"),
        cites=tuple(document["cites"]),
    )


def _finding(stored: str | Mapping[str, Any]) -> Finding:
    if isinstance(stored, str):  # format 1
        return Finding("the method's own checks", "problem", stored)
    return Finding(**stored)


def _options(settings: Method) -> dict[str, Any]:
    options = {field.name: getattr(settings, field.name) for field in fields(settings)}  # type: ignore[arg-type]
    options = {name: str(value) if isinstance(value, Path) else value for name, value in options.items()}
    for name, value in options.items():
        if not _is_json(value):
            raise StorageError(
                f"option {name!r}",
                got=f"a {type(value).__name__}, which cannot be stored without running code to read it",
                expected="numbers, strings and lists",
                fix="Save the draws alone: post.to_netcdf(path).",
            )
    return options


def _is_json(value: Any) -> bool:
    try:
        return json.loads(json.dumps(value)) == (list(value) if isinstance(value, tuple) else value)
    except (TypeError, ValueError):
        return False


def _named(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {f"{prefix}.{name}": np.asarray(array) for name, array in arrays.items()}


def _under(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    start = f"{prefix}."
    return {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}
