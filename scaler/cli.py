"""The commands: each reads its words, calls one function, and prints what it answers."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from typer.exceptions import TyperException

from scaler.embedded.scenarios import Demo, ScenarioName, Told
from scaler.wiring import demo as demos
from scaler.wiring import keda as scaled_objects
from scaler.wiring import telling
from scaler.wiring.errors import UserError

if TYPE_CHECKING:
    from scaler.wiring.playing import Told as Played

app = typer.Typer(
    help="Autoscaler and release controller for language models on Kubernetes.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


class Mistake(TyperException):
    """What the user asked cannot be done; the text names the thing, the limit and what to do."""

    exit_code = 2


@app.command()
def demo(
    scenario: Annotated[
        ScenarioName,
        typer.Option(help="The plain hour; half of the GPUs; ten minutes without metrics; or a new version."),
    ] = ScenarioName.HOUR,
    speed: Annotated[float, typer.Option(min=1, max=1000, help="Seconds of traffic that pass in one.")] = 100,
    load_time: Annotated[float, typer.Option(min=5, max=1500, help="Seconds a replica takes to load, about.")] = 180,
    seed: Annotated[int, typer.Option(min=0, max=2**31, help="Of the load times; the same seed, the same ones.")] = 1,
    output: Annotated[Path, typer.Option(help="The folder for the journal and the picture.")] = demos.DEMO_FOLDER,
) -> None:
    """Run the controller on an hour of real traffic, against an emulated GPU pool; Ctrl-C ends it at any time."""
    asked = Demo(scenario=scenario, speed=speed, load_time_s=load_time, seed=seed, folder=output)
    console = Console()
    try:
        told = demos.demonstrated(asked, console)
    except UserError as error:
        raise Mistake(str(error)) from error
    _print_end(console, told)


def _print_rows(console: Console, rows: Iterable[tuple[str, str]]) -> None:
    table = Table(show_header=False, title="What it came to", title_justify="left")
    for name, value in rows:
        table.add_row(name, value)
    console.print(table)


def _print_scenario(console: Console, told: "Played") -> None:
    table = Table("", "seen", "what must hold", "bar")
    for row in told.rows:
        table.add_row(*row)
    for line in (told.about, told.why, "", table, "", "The count moved:", *told.moves, "", *told.moments):
        console.print(line, highlight=False, soft_wrap=True, markup=False)


def _print_end(console: Console, told: Told) -> None:
    _print_rows(console, told.rows)
    question = f"forebay explain llama --at 00:20 --journal {told.journal}"
    for name, value in (("picture", told.picture), ("journal", told.journal), ("why", question)):
        console.print(f"{name:<9}{value}", highlight=False, soft_wrap=True)


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,  # the settings know their own flags, and say them
)
def run(context: typer.Context) -> None:
    """Run the controller on a cluster; `forebay run --help` lists its settings."""
    # The adapters take a second to import, which the other commands need not wait for.
    from scaler.wiring.controller import controlled  # noqa: PLC0415

    try:
        code = controlled(context.args)
    except UserError as error:
        typer.echo("\n".join(f"forebay: {line}" for line in str(error).splitlines()), err=True)
        raise typer.Exit(2) from error
    raise typer.Exit(code)


@app.command()
def simulate(  # noqa: PLR0913 - each is an option of the command
    trace: Annotated[str, typer.Option(help="A public trace by name, such as azure2024-conv, or a file of that form.")],
    policy: Annotated[Path, typer.Option(help="A YAML file of one ScalingPolicy.")],
    fleet: Annotated[Path, typer.Option(help="A YAML file: engine, loadSeconds, warmReplicas, pool.")],
    out: Annotated[Path, typer.Option(help="The folder for result.json.")],
    seed: Annotated[
        int, typer.Option(min=0, max=2**31, help="Of arrivals and load times; the same, the same run.")
    ] = 1,
    window: Annotated[str, typer.Option(help="Of a series: rise (six hours), whole, or a day such as day-3.")] = "rise",
    *,
    bound: Annotated[
        bool, typer.Option(help="Also find what perfect foresight needs; it takes some dozen runs.")
    ] = True,
) -> None:
    """Replay a trace against a policy and a fleet model, without waiting, and score it."""
    # The fleet model takes two seconds to import, which the other commands need not wait for.
    from scaler.wiring.simulation import Asked, simulated  # noqa: PLC0415

    asked = Asked(trace=trace, policy=policy, fleet=fleet, window=window, seed=seed, folder=out, is_bounded=bound)
    console = Console()
    try:
        told = simulated(asked, console)
    except UserError as error:
        raise Mistake(str(error)) from error
    _print_rows(console, told.rows)
    console.print(f"result  {told.result}", highlight=False, soft_wrap=True)


@app.command()
def scenario(
    name: Annotated[str | None, typer.Argument(help="Its name; all of them are listed, if left out.")] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=2**31, help="Of arrivals, noise and load times; the same, the same run.")
    ] = 1,
) -> None:
    """Play a hard case on the fleet model: what must hold, whether it does, and why each count was set."""
    # The fleet model takes two seconds to import, which the other commands need not wait for.
    from scaler.wiring.playing import listed, told  # noqa: PLC0415

    console = Console()
    if name is None:
        for each, about in listed():
            console.print(f"{each:<16} {about}", highlight=False, soft_wrap=True)
        return
    try:
        outcome = told(name, seed)
    except UserError as error:
        raise Mistake(str(error)) from error
    _print_scenario(console, outcome)
    raise typer.Exit(0 if outcome.is_met else 1)


@app.command()
def compare(
    out: Annotated[Path, typer.Option(help="The folder for runs, comparison.csv and report.html; it may hold some.")],
    suite: Annotated[str, typer.Option(help="public or generated.")] = "public",
    only: Annotated[
        list[str] | None, typer.Option(metavar="WORD", help="Only cells whose name holds the word; may be repeated.")
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=2**31, help="Of the first of 100 generated services: from 100 on, and never run yet."),
    ] = None,
) -> None:
    """Compare with other autoscalers and with perfect foresight; Ctrl-C ends it, and the same again goes on."""
    # The fleet model takes two seconds to import, which the other commands need not wait for.
    from scaler.wiring.comparing import asked_for, compared  # noqa: PLC0415

    console = Console()
    try:
        told = compared(asked_for(suite, out, only or (), seed), console)
    except UserError as error:
        raise Mistake(str(error)) from error
    for line, verdict, figure in told.rows:
        console.print(f"{verdict:<16} {line}: {figure}", highlight=False, soft_wrap=True)
    console.print(f"report  {told.page}\ntable   {told.csv}", highlight=False, soft_wrap=True)


@app.command()
def validate(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="YAML files of ScalingPolicy documents.")],
) -> None:
    """Check ScalingPolicy documents, and name every fault at once."""
    report = telling.validated(files)
    for line in report.faults:
        typer.echo(line, err=True)
    if report.faults:
        raise typer.Exit(2)
    typer.echo(f"{len(report.names)} sound: {', '.join(report.names)}")


@app.command()
def keda(
    policy: Annotated[Path, typer.Argument(metavar="POLICY", help="A YAML file of ScalingPolicy documents.")],
    scaler_address: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where KEDA finds Forebay; as spec.keda says, if left out.")
    ] = None,
    authentication: Annotated[
        str | None, typer.Option(metavar="NAME", help="The TriggerAuthentication with the certificates; implies TLS.")
    ] = None,
    *,
    tls: Annotated[bool, typer.Option("--tls", help="Encrypt, by the authorities that KEDA knows.")] = False,
) -> None:
    """Print the KEDA ScaledObjects that fit a policy, one for each version and role, to apply with kubectl."""
    asked = scaled_objects.Asked(
        file=policy, scaler_address=scaler_address, is_encrypted=tls, authentication=authentication
    )
    try:
        typer.echo(scaled_objects.printed(asked), nl=False)
    except UserError as error:
        raise Mistake(str(error)) from error


@app.command()
def explain(
    policy: Annotated[str, typer.Argument(help="A policy's name, with its namespace where that is not clear.")],
    at: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="ISO 8601, or HH:MM[:SS] of the journal's last day; UTC unless it says."),
    ] = None,
    journal: Annotated[
        Path, typer.Option(envvar="FOREBAY_JOURNAL", help="The journal's file, or the folder that it is in.")
    ] = demos.DEMO_FOLDER,
    *,
    replay: Annotated[
        bool, typer.Option("--replay", help="Decide again from the record, and say whether it agrees.")
    ] = False,
) -> None:
    """Say why a policy has the replicas it has, from demand to command, as it was decided at TIME (or last)."""
    try:
        if not replay:
            typer.echo(telling.explained(policy, at, journal))
            return
        verdict = telling.replayed(policy, at, journal)
    except UserError as error:
        raise Mistake(str(error)) from error
    typer.echo(verdict.text)
    raise typer.Exit(0 if verdict.agrees else 1)
