"""Tables of figures. Must not know: where they come from."""

COLUMNS = ["workload", "round trip", "", "tool", "seconds", "× crane", "× best peer", "its CPU seconds",
           "source requests", "destination requests", "MiB moved", "peak RSS MiB", "unpacked MiB/s"]


def line(cells):
    return f"| {' | '.join(cells)} |"


def case(row):
    """What is compared with each other: one workload, round trip and state."""
    return row["workload"], row["round_trip"], row["warm"]


def ratio(seconds, base):
    return f"{seconds / base:.2f}" if base else ""


def table(rows):
    """Markdown; ratios are to crane, and to the fastest tool that is not Transship, in the same case."""
    crane = {case(row): row["seconds"] for row in rows if row["tool"] == "crane"}
    best = {}
    for row in rows:
        if row["tool"] != "transship":
            best[case(row)] = min(row["seconds"], best.get(case(row), row["seconds"]))
    lines = [line(COLUMNS), "|" + "---|" * len(COLUMNS)]
    for row in sorted(rows, key=lambda row: (*case(row), row["tool"])):
        seconds = row["seconds"]
        lines.append(line([
            row["workload"], f"{row['round_trip']} ms", "warm" if row["warm"] else "cold", row["tool"], f"{seconds:.2f}",
            ratio(seconds, crane.get(case(row))), ratio(seconds, best.get(case(row))), f"{row['cpu_seconds']:.2f}",
            f"{row['source_requests']:.0f}", f"{row['destination_requests']:.0f}", f"{row['moved_mib']:.1f}",
            f"{row['resident_mib']:.0f}",
            f"{row['uncompressed_mib'] / seconds:.0f}" if row["uncompressed_mib"] else "",
        ]))
    return "\n".join(lines)
