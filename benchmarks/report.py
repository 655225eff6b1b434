"""`report`: the results of a folder as Markdown tables and a roofline plot."""

from __future__ import annotations

import argparse
import importlib.util
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Row = dict[str, Any]

PASS_COLORS = {"forward": "tab:blue", "input gradient": "tab:orange", "weight gradient": "tab:green"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", default="results", metavar="FOLDER", help="with the JSON files (default: %(default)s)")


def run(arguments: argparse.Namespace) -> None:
    folder = Path(arguments.out)
    files = {path: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}
    parts = [section(path.name, content) for path, content in files.items()]
    for path, content in files.items():
        if content["benchmark"] == "ops" and content["options"].get("device") != "cuda":
            if importlib.util.find_spec("matplotlib") is None:
                print("no roofline plot: matplotlib is not installed")
                break
            stem = folder / path.stem.replace("ops", "roofline")
            draw_roofline(content["rows"], stem)
            parts.append(f"![Roofline of the convolutions]({stem.name}.svg)\n")
    report = folder / "report.md"
    report.write_text("\n".join(parts), encoding="utf-8")
    print(f"wrote {report}")


def section(file: str, content: dict[str, Any]) -> str:
    """A heading, where the numbers come from, the tables of the benchmark, and what was skipped."""
    rows = content["rows"]
    tables = {
        "train": lambda: networks_table(rows) + "\n" + kinds_table(rows),
        "infer": lambda: networks_table(rows) + "\n" + kinds_table(rows),
        "ops": lambda: convolutions_table(rows),
        "overhead": lambda: overhead_table(rows),
        "memory": lambda: memory_table(rows),
        "epoch": lambda: epoch_table(rows),
        "passes": lambda: passes_table(rows),
        "smoke": lambda: smoke_table(rows),
    }
    if content["options"].get("device") == "cuda":
        tables |= {"train": lambda: gpu_networks_table(rows), "ops": lambda: gpu_convolutions_table(rows)}
    reasons = {peer: reason for row in rows for peer, reason in row["skipped"].items()}
    skipped = "".join(f"\nSkipped: {peer} ({reason}).\n" for peer, reason in reasons.items())
    return f"## {content['benchmark']} ({file})\n\n{origin(content)}\n\n{tables[content['benchmark']]()}{skipped}"


def origin(content: dict[str, Any]) -> str:
    machine = content["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    level = machine["pycnn"]["level"]
    settings = "".join(f" {name}={value}" for name, value in machine["environment"].items())
    return (
        f"{machine['processor']}, {machine['cores']} cores, pycnn on {level}, {content['options']['threads']} threads; "
        f"{versions}; {content['date'][:10]}, commit {machine['commit']}, load at the start "
        f"{machine['load average'][0]:.1f}; `{settings.strip()}{' ' if settings else ''}{content['command']}`"
    )


# -- tables -----------------------------------------------------------------------------------------------------------


def table(header: list[str], rows: Iterable[list[str]]) -> str:
    """Markdown; the first column to the left, numbers to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def peer_names(rows: list[Row]) -> list[str]:
    """Every peer of any row, in the order of appearance."""
    return list(dict.fromkeys(peer for row in rows for peer in row["peers"]))


def number(value: float) -> str:
    """Three digits, and no fewer than are before the point."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def times(row: Row, peers: list[str], unit: float) -> list[str]:
    """Medians in units of so many seconds; empty where the peer was not measured."""
    return [number(row["peers"][peer]["seconds"][1] / unit) if peer in row["peers"] else "" for peer in peers]


def ratio(row: Row, dtype: str) -> str:
    """The median and, in parentheses, the quartiles."""
    if dtype not in row["ratios"]:
        return ""
    low, median, high = row["ratios"][dtype]["quartiles"]
    return f"**{median:.2f}** ({low:.2f}-{high:.2f})"


def networks_table(rows: list[Row]) -> str:
    """Milliseconds per step; ratios of the best other to the best of ours; floors, and their share of our kernels."""
    peers = peer_names(rows)
    dtypes = [dtype for dtype in ("float32", "bfloat16") if any(dtype in row["roofline"] for row in rows)]
    header = ["ms", *peers, "ratio float32", "ratio bfloat16"]
    header += [title for dtype in dtypes for title in (f"floor {dtype}", "of floor")]

    def floors(row: Row, dtype: str) -> list[str]:
        if dtype not in row["roofline"]:
            return ["", ""]
        roofline = row["roofline"][dtype]
        return [number(1e3 * roofline["floor"]), f"{roofline['floor'] / roofline['seconds']:.2f}"]

    return table(
        header,
        (
            [
                f"{row['network']} b{row['batch_size']}",
                *times(row, peers, 1e-3),
                ratio(row, "float32"),
                ratio(row, "bfloat16"),
                *(cell for dtype in dtypes for cell in floors(row, dtype)),
            ]
            for row in rows
        ),
    )


def kinds_table(rows: list[Row]) -> str:
    """Where pycnn's time goes: of each kind of kernel its share of the step and, in parentheses, of its floor."""
    steps = [
        (f"{row['network']} b{row['batch_size']} {dtype}", roofline)
        for row in rows
        for dtype, roofline in row["roofline"].items()
    ]
    seconds: dict[str, float] = {}
    for _, roofline in steps:
        for kind, values in roofline["kinds"].items():
            seconds[kind] = seconds.get(kind, 0) + values["seconds"] / roofline["seconds"]
    kinds = sorted(seconds, key=lambda kind: -seconds[kind])

    def cell(roofline: Row, kind: str) -> str:
        values = roofline["kinds"].get(kind)
        if values is None:
            return ""
        share = values["seconds"] / roofline["seconds"]
        return f"{100 * share:.0f} % ({values['floor'] / values['seconds']:.2f})"

    header = ["share of the time (of floor)", *(kind.replace("_", " ") for kind in kinds)]
    return table(header, ([name, *(cell(roofline, kind) for kind in kinds)] for name, roofline in steps))


def convolutions_table(rows: list[Row]) -> str:
    """GFLOP/s of our kernels and of the others' calls."""
    others = [peer for peer in peer_names(rows) if peer != "pycnn"]
    header = [
        "layer",
        "in",
        "pass",
        "algorithm",
        "GFLOP/s",
        "of floor",
        *(f"{peer}, GFLOP/s" for peer in others),
        "ratio",
    ]

    def rate(row: Row, peer: str) -> str:
        return number(row["flops"] / row["peers"][peer]["seconds"][1] / 1e9) if peer in row["peers"] else ""

    return table(
        header,
        (
            [
                row["layer"],
                ", ".join(f"{name} ×{count}" for name, count in row["networks"].items()),
                row["pass"],
                row["algorithm"],
                number(row["flops"] / row["kernel_seconds"][1] / 1e9),
                f"{row['of_floor']:.2f}",
                *(rate(row, peer) for peer in others),
                ratio(row, "float32"),
            ]
            for row in rows
        ),
    )


def overhead_table(rows: list[Row]) -> str:
    imports, parts = rows[0], rows[-1]
    peers = peer_names(rows[1:-1])
    megabytes = [number(values["bytes"] / 1e6) for values in imports["peers"].values()]
    return "\n".join(
        [
            table(
                ["import", *imports["peers"]],
                [["ms", *times(imports, list(imports["peers"]), 1e-3)], ["peak resident MB", *megabytes]],
            ),
            table(
                ["µs", *peers, "ratio"],
                ([row["what"], *times(row, peers, 1e-6), ratio(row, "float32")] for row in rows[1:-1]),
            ),
            table(
                [f"{parts['what']}, µs", *parts["peers"], "kernels within"],
                [["", *times(parts, list(parts["peers"]), 1e-6), number(1e6 * parts["roofline"]["seconds"])]],
            ),
        ]
    )


def memory_table(rows: list[Row]) -> str:
    """Peak resident megabytes; ratios of ours to the most frugal other."""
    peers = peer_names(rows)
    header = ["peak resident MB", *peers, "ours / theirs, float32", "bfloat16"]

    def held(row: Row, peer: str) -> str:
        return number(row["peers"][peer]["bytes"] / 1e6) if peer in row["peers"] else ""

    return table(
        header,
        (
            [
                f"{row['network']} b{row['batch_size']}",
                *(held(row, peer) for peer in peers),
                *(f"{row['ratios'][dtype]:.2f}" if dtype in row["ratios"] else "" for dtype in ("float32", "bfloat16")),
            ]
            for row in rows
        ),
    )


def epoch_table(rows: list[Row]) -> str:
    """Seconds per epoch, and how many times the quiet epoch in parentheses."""
    peers = peer_names(rows)

    def cell(row: Row, peer: str) -> str:
        return f"{row['peers'][peer]['seconds'][1]:.2f} ({row['slowdown'][peer][1]:.2f}×)"

    header = [f"s for {rows[0]['images']} images", *peers, "ratio"]
    return table(header, ([row["what"], *(cell(row, peer) for peer in peers), ratio(row, "float32")] for row in rows))


# -- tables of GPUs ---------------------------------------------------------------------------------------------------


def gpu_networks_table(rows: list[Row]) -> str:
    """Milliseconds per step, images per second of pycnn's best in bfloat16, ratios; then where pycnn's time goes."""
    measured = [row for row in rows if row["peers"]]
    peers = peer_names(measured)
    header = ["ms", *peers, "images/s bfloat16"]
    header += [f"{dtype}: to {what}" for dtype in ("float32", "bfloat16") for what in ("eager", "best")]

    def images(row: Row) -> str:
        seconds = [v["seconds"][1] for peer, v in row["peers"].items() if peer.startswith("pycnn bf16")]
        return number(row["batch_size"] / min(seconds)) if seconds else ""

    def ratios(row: Row, dtype: str) -> list[str]:
        return [ratio({"ratios": row[kind]}, dtype) for kind in ("eager_ratios", "ratios")]

    cells = (
        [
            f"{row['network']} b{row['batch_size']}",
            *times(row, peers, 1e-3),
            images(row),
            *ratios(row, "float32"),
            *ratios(row, "bfloat16"),
        ]
        for row in measured
    )
    failures = "".join(
        f"\n{row['network']} b{row['batch_size']}: {row['failure']}\n" for row in rows if "failure" in row
    )
    return table(header, cells) + "\n" + kinds_table(rows) + failures


def gpu_convolutions_table(rows: list[Row]) -> str:
    """Microseconds and shares of the rate of a large matrix product; a line per layer, pass and dtype."""
    header = ["layer", "in", "pass", "dtype", "pycnn, µs", "torch, µs", "of peak", "torch's", "of floor", "ratio"]

    def cells(row: Row) -> list[str]:
        names = [f"{package} {row['dtype']}" for package in ("pycnn", "torch")]
        networks = ", ".join(f"{name} ×{count}" for name, count in row["networks"].items())
        shares = [f"{row['of_peak'][name]:.2f}" if name in row["of_peak"] else "" for name in names]
        floor = f"{row['of_floor'][names[0]]:.2f}" if names[0] in row["of_floor"] else ""
        start = [row["layer"], networks, row["pass"], row["dtype"]]
        return [*start, *times(row, names, 1e-6), *shares, floor, ratio(row, row["dtype"])]

    return peak_line(rows) + table(header, map(cells, rows))


def passes_table(rows: list[Row]) -> str:
    """Microseconds, and shares of the bandwidth of a copy."""
    peers = peer_names(rows)
    header = ["pass", "dtype", *(f"{peer}, µs" for peer in peers), *(f"{peer}, of copy" for peer in peers), "ratio"]

    def shares(row: Row) -> list[str]:
        return [f"{row['shares'][peer]:.2f}" if peer in row["shares"] else "" for peer in peers]

    cells = (
        [row["what"], row["dtype"], *times(row, peers, 1e-6), *shares(row), ratio(row, row["dtype"])] for row in rows
    )
    return peak_line(rows) + table(header, cells)


def peak_line(rows: list[Row]) -> str:
    """What the shares in the table are of."""
    peak = rows[0]["peak"]
    return (
        f"Peak, measured in the same run: copy {peak['bytes_per_second'] / 1e9:.0f} GB/s, products "
        f"{peak['bfloat16_flops_per_second'] / 1e12:.0f} TFLOP/s in bfloat16, "
        f"{peak['flops_per_second'] / 1e12:.1f} in float32.\n\n"
    )


def smoke_table(rows: list[Row]) -> str:
    """Differences by norm, or what failed."""

    def result(row: Row) -> str:
        agrees = f"{row['difference']:.2g}" if "difference" in row else "none"
        return row.get("failure", agrees)

    return table(["on the GPU", "difference from the CPU"], ([row["what"], result(row)] for row in rows[1:]))


# -- plot -------------------------------------------------------------------------------------------------------------


def draw_roofline(rows: list[Row], stem: Path) -> None:
    """GFLOP/s over operations per byte, beneath the machine's roof, as SVG and PNG."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "pycnn"  # the same plot is the same file
    from matplotlib import pyplot

    flops = sorted(row["peak"]["flops_per_second"] for row in rows)[len(rows) // 2]
    bytes_ = sorted(row["peak"]["bytes_per_second"] for row in rows)[len(rows) // 2]
    intensities = [row["flops"] / row["bytes"] for row in rows]
    figure, axes = pyplot.subplots(figsize=(8, 5), layout="constrained")
    low, high = min(intensities) / 1.5, max(max(intensities) * 1.5, flops / bytes_)
    axes.plot([low, flops / bytes_, high], [low * bytes_ / 1e9, flops / 1e9, flops / 1e9], color="black", label="roof")
    for name, color in PASS_COLORS.items():
        ours = [row for row in rows if row["pass"] == name]
        axes.scatter(
            [row["flops"] / row["bytes"] for row in ours],
            [row["flops"] / row["kernel_seconds"][1] / 1e9 for row in ours],
            color=color,
            s=22,
            label=f"pycnn, {name}",
        )
    others = [(row, peer) for row in rows for peer in row["peers"] if peer != "pycnn"]
    if others:
        axes.scatter(
            [row["flops"] / row["bytes"] for row, _ in others],
            [row["flops"] / row["peers"][peer]["seconds"][1] / 1e9 for row, peer in others],
            facecolors="none",
            edgecolors="gray",
            s=22,
            label=others[0][1],
        )
    axes.set(xscale="log", yscale="log", xlabel="operations per byte", ylabel="GFLOP/s", title="Convolutions, float32")
    axes.grid(which="both", alpha=0.2)
    axes.legend()
    for suffix in (".svg", ".png"):
        figure.savefig(stem.with_suffix(suffix), dpi=150, metadata={"Date": None} if suffix == ".svg" else None)
    pyplot.close(figure)
