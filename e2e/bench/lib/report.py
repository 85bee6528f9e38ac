"""Tables of figures. Must not know: where they come from."""


def table(rows):
    """Markdown; ratios are to crane in the same workload, round trip and state."""
    lines = ["| workload | round trip | | tool | seconds | × crane | its CPU seconds | source requests | destination requests | peak RSS MiB | unpacked MiB/s |",
             "|---|---|---|---|---|---|---|---|---|---|---|"]
    crane = {(row["workload"], row["round_trip"], row["warm"]): row["seconds"]
             for row in rows if row["tool"] == "crane"}
    for row in sorted(rows, key=lambda row: (row["workload"], row["round_trip"], row["warm"], row["tool"])):
        base = crane.get((row["workload"], row["round_trip"], row["warm"]))
        ratio = f"{row['seconds'] / base:.2f}" if base else ""
        unpacked = f"{row['uncompressed_mib'] / row['seconds']:.0f}" if row["uncompressed_mib"] else ""
        lines.append(f"| {row['workload']} | {row['round_trip']} ms | {'warm' if row['warm'] else 'cold'} | {row['tool']} "
                     f"| {row['seconds']:.2f} | {ratio} | {row['cpu_seconds']:.2f} | {row['source_requests']:.0f} | {row['destination_requests']:.0f} "
                     f"| {row['resident_mib']:.0f} | {unpacked} |")
    return "\n".join(lines)
