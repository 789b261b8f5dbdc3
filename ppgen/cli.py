"""The command line: ``ppgen --help``.

Each command checks its paths and names before it computes anything. What can go wrong on the user's
side ends in one message without a traceback, and a non-zero exit status.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TextIO, cast

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ppgen.cli_arguments import (
    Data,
    Grey,
    Lazy,
    Levels,
    Seed,
    Settings,
    Size,
    named_again,
    read_dataset,
    read_json_object,
    read_key_values,
    read_program,
    read_values,
)
from ppgen.errors import InvalidArgument, PpgenError

__all__ = ["app", "main"]

app = typer.Typer(
    name="ppgen",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Generative models as programs: train them, draw posteriors, and say honestly how good they are.",
    epilog="Begin with `ppgen demo --quick`: it fits a Bayesian model and three generative models to real "
    "data, and writes a report that shows what there is.",
)

_OUT = Console()
_ERR = Console(stderr=True)


def main() -> None:
    """Run the command line; errors that a user can mend are printed without a traceback."""
    warnings.showwarning = _show_warning
    try:
        app()
    except PpgenError as error:
        _ERR.print(f"[bold red]error:[/] {escape(str(error))}", highlight=False)
        sys.exit(1)
    except KeyboardInterrupt:
        _ERR.print("[bold red]interrupted[/]")
        sys.exit(130)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Where everything lands.")] = Path("demo"),
    quick: Annotated[bool, typer.Option("--quick", help="Train for seconds instead of minutes.")] = False,
    seed: Seed = 0,
) -> None:
    """Take a Bayesian model through a workflow, train three generative models, and write a report.

    Eight schools in two forms by NUTS, diagnosed and compared; a transformer, a VAE and a spline flow on
    handwritten digits, measured next to simple baselines. The folder holds report.html, scorecard.json,
    the posteriors and the trained models.
    """
    from ppgen.demo import run_demo

    report = run_demo(out, quick=quick, seed=seed)
    _OUT.print(f"Open [bold]{escape(str(report))}[/] in a browser.")


@app.command()
def models(
    family: Annotated[str | None, typer.Argument(help="One of them, to list its settings.")] = None,
) -> None:
    """List the families of generative models, or the settings of one of them."""
    from ppgen.models.registry import describe, family_class

    if family is None:
        table = Table("family", "what it is")
        for name, summary in describe().items():
            table.add_row(name, summary)
    else:
        table = Table("setting", "default", "values", "what it is", show_lines=True)
        for each in family_class(family).declared_settings():
            if each.kw_only:  # the others come with the data
                table.add_row(*map(escape, (each.name, each.default_text, each.range, each.plain_doc)))
    _OUT.print(table)


@app.command()
def datasets() -> None:
    """List the datasets that need no file."""
    from ppgen.data import describe

    table = Table("dataset", "what it is", show_lines=True)
    for name, summary in describe().items():
        table.add_row(name, summary)
    _OUT.print(table)


@app.command()
def train(
    family: Annotated[str, typer.Argument(help="A family's name: see `ppgen models`.")],
    data: Data,
    out: Annotated[Path, typer.Option(help="The file to write, ending in .ppgen.")],
    epochs: Annotated[int, typer.Option(help="At most so many passes over the training rows.")] = 100,
    seed: Seed = 0,
    settings: Settings = None,
    levels: Levels = None,
    size: Size = None,
    grey: Grey = None,
    lazy: Lazy = None,
    batch_size: Annotated[int | None, typer.Option(help="Rows a step; by default 32.")] = None,
    learning_rate: Annotated[float, typer.Option(help="Of the optimizer, at its highest.")] = 3e-3,
    patience: Annotated[
        int, typer.Option(help="Stop after so many epochs without a better validation loss.")
    ] = 30,
    objective: Annotated[
        str | None, typer.Option(help="What to minimise; by default the family's own first choice.")
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="KEY=VALUE", help="A setting of the objective; may be repeated."),
    ] = None,
    average: Annotated[
        float, typer.Option(help="Decay of an average of the parameters, such as 0.999, which is kept.")
    ] = 0.0,
    log: Annotated[
        Path | None, typer.Option(help="Write the history to a .csv file, or a folder for TensorBoard.")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="A folder to keep the state of the run in, every few minutes.")
    ] = None,
    checkpoint_minutes: Annotated[float, typer.Option(help="How often.")] = 5.0,
    resume: Annotated[bool, typer.Option("--resume", help="Resume from the checkpoint.")] = False,
    device: Annotated[str | None, typer.Option(help="cpu or cuda.")] = None,
    precision: Annotated[str, typer.Option(help="float32 or bf16.")] = "float32",
) -> None:
    """Train a family on data and write it to a file.

    Ctrl-C ends training early; the best model so far is still written. A run with `--checkpoint`
    that was killed resumes when the same line is given `--resume`.

    Example: `ppgen train vae --data digits --epochs 100 --set latent_dim=16 --out vae.ppgen`
    """
    from ppgen import storage
    from ppgen.inference.training.train import train as fit
    from ppgen.models.files import save
    from ppgen.models.registry import family_class, parsed_settings

    storage.check_writable(out)
    dataset = read_dataset(data, levels, size, grey, lazy)
    build = family_class(family)
    model = build.like(dataset, seed=seed, **parsed_settings(build, read_key_values(settings)))
    run = fit(
        model,
        dataset,
        epochs=epochs,
        seed=seed,
        batch_size=batch_size,
        learning_rate=learning_rate,
        patience=patience,
        objective=objective,
        average=average,
        log=log,
        checkpoint=checkpoint,
        checkpoint_minutes=checkpoint_minutes,
        resume=resume,
        device=cast(Any, device),
        precision=cast(Any, precision),
        **read_values(options),
    )
    save(model, out)
    same = named_again(data=data, levels=levels, size=size, grey=grey, lazy=lazy)
    _OUT.print(f"{run}\nWrote {out}. Next: ppgen evaluate {out} {same}", highlight=False)


@app.command()
def sample(
    file: Annotated[Path, typer.Argument(help="A trained model, .ppgen.")],
    n: Annotated[int, typer.Option("-n", help="How many rows to draw.", min=1)] = 64,
    out: Annotated[Path, typer.Option(help="The .npz file to write; the array is named `samples`.")] = Path(
        "samples.npz"
    ),
    plot: Annotated[Path | None, typer.Option(help="Also draw them as a picture (.png, .svg, .pdf).")] = None,
    seed: Seed = 0,
    settings: Settings = None,
) -> None:
    """Draw rows from a trained model.

    Settings are those of the family's sample method, for example `--set temperature=0.8` for a
    transformer.
    """
    import numpy as np

    from ppgen import storage
    from ppgen.models.files import load
    from ppgen.models.registry import sampling_options

    storage.check_writable(out)
    if plot is not None:
        storage.check_writable(plot)
    model: Any = load(file)
    draw = _picture(model.shape) if plot is not None else None
    rows = model.sample(n, seed=seed, **sampling_options(model, read_key_values(settings)))
    with out.open("wb") as stream:  # a stream, since savez adds .npz to a name without it
        np.savez_compressed(stream, samples=rows)
    _OUT.print(f"Wrote {n} rows of shape {rows.shape[1:]} to {out}.", highlight=False)
    if draw is not None:
        draw(file.stem, rows, model.levels).savefig(plot, bbox_inches="tight", dpi=200)
        _OUT.print(f"Wrote {plot}.", highlight=False)


@app.command()
def evaluate(
    files: Annotated[list[Path], typer.Argument(help="Trained models, .ppgen.")],
    data: Data,
    json: Annotated[Path | None, typer.Option(help="Also write the scorecard as JSON.")] = None,
    html: Annotated[Path | None, typer.Option(help="Also write a page with tables and pictures.")] = None,
    levels: Levels = None,
    size: Size = None,
    grey: Grey = None,
    lazy: Lazy = None,
    features: Annotated[
        str, typer.Option(help="What samples are measured on: auto, pixels, standardised, pca, …")
    ] = "auto",
    generated: Annotated[
        int | None, typer.Option(help="How many samples to measure; 0 for likelihoods alone.")
    ] = None,
    seed: Seed = 0,
) -> None:
    """Measure models on held-out data, next to simple baselines, on one table.

    Each likelihood says what kind it is: exact, a bound, or an estimate. The quality of samples stands
    in a table of its own.
    """
    from ppgen import storage
    from ppgen.evaluation.scoring import evaluate as measure
    from ppgen.models.files import load
    from ppgen.reports.report import report as make_report

    for path in (json, html):
        if path is not None:
            storage.check_writable(path)
    models = {file.stem: load(file) for file in files}
    rows = read_dataset(data, levels, size, grey, lazy)
    card = measure(models, rows, features=features, generated=generated, seed=seed)
    _OUT.print(str(card), highlight=False, markup=False)
    if json is not None:
        card.to_json(json)
    if html is not None:
        make_report(card, path=html, seed=seed)


@app.command()
def infer(
    program: Annotated[str, typer.Argument(help="A program as FILE.py:function.")],
    data: Annotated[
        Path | None, typer.Option(help="A JSON object of the program's keyword arguments.")
    ] = None,
    method: Annotated[str, typer.Option(help="The posterior method: nuts, svi, smc, auto, …")] = "nuts",
    out: Annotated[Path | None, typer.Option(help="Write the posterior as netCDF, for ArviZ.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write a page: checks, fit, diagnosis.")] = None,
    draws: Annotated[int, typer.Option(help="Draws a chain, after warm-up.")] = 1000,
    tune: Annotated[int, typer.Option(help="Length of the warm-up.")] = 1000,
    chains: Annotated[int, typer.Option(help="How many chains.")] = 4,
    seed: Seed = 0,
    settings: Settings = None,
) -> None:
    """Draw from the posterior of a program of your own, and print the summary.

    The file is run as Python. Example:
    `ppgen infer schools.py:model --data schools.json --set target_accept=0.95 --out schools.nc`
    """
    from ppgen import storage
    from ppgen.inference.infer import infer as draw
    from ppgen.reports.report import report as make_report

    for path in (out, report):
        if path is not None:
            storage.check_writable(path)
    post = draw(
        read_program(program),
        read_json_object(data),
        method,
        draws=draws,
        tune=tune,
        chains=chains,
        seed=seed,
        **read_values(settings),
    )
    _OUT.print(post.summary().to_string(), highlight=False, markup=False)
    _OUT.print(str(post.diagnostics), highlight=False, markup=False)
    if post.log_evidence is not None:
        value, stderr = post.log_evidence
        _OUT.print(f"Log evidence {value:.3f} ± {stderr:.3f} nats", highlight=False)
    if post.how:
        _OUT.print(post.how, highlight=False, markup=False)
    if out is not None:
        _OUT.print(f"Wrote {post.save(out)}.", highlight=False)
    if report is not None:
        make_report(post, path=report, seed=seed)
        _OUT.print(f"Wrote {report}.", highlight=False)


def _picture(shape: tuple[int, ...]) -> Callable[[str, Any, int | None], Any]:
    """How to draw rows of this shape, from their name, themselves and their levels."""
    from ppgen import plots

    if len(shape) == 2:
        return lambda name, rows, levels: plots.samples({name: rows}, levels)
    if shape == (2,):
        return lambda name, rows, levels: plots.scatter({name: rows})
    raise InvalidArgument(
        "--plot",
        got=f"a model of rows of shape {shape}",
        expected="images (height, width), or points in the plane",
        fix="Leave out --plot; the rows themselves are written.",
    )


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print what ppgen warns of in the same style as its errors; others stay with the libraries."""
    from ppgen.errors import InferenceWarning, TrainingWarning

    if issubclass(category, (InferenceWarning, TrainingWarning)):
        _ERR.print(f"[bold yellow]warning:[/] {escape(str(message))}", highlight=False)


if __name__ == "__main__":
    main()
