"""Render a result as one page that loads nothing: a summary, then every figure with its explanation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from importlib.resources import files
from string import Template

from cxr_infer.lab.axes import label_of, shown_number
from cxr_infer.lab.chart import drawn_words, looks_of, panels, shown_estimate, swatch
from cxr_infer.lab.findings import Finding
from cxr_infer.lab.maps import map_figures
from cxr_infer.lab.protocol import NOISY
from cxr_infer.lab.protocol_files import protocol_hash
from cxr_infer.lab.reading import Reading, read_off, subject_of
from cxr_infer.lab.result import LabResult, points
from cxr_infer.model.card import RESEARCH_USE
from cxr_infer.report.html.frame import asset, methods_section, opening
from cxr_infer.report.html.markup import text

HASH_SHOWN = 12  # hex digits


def page(result: LabResult) -> str:
    """Return the whole page. result: with its maps."""
    template = (files(__package__) / "lab.html").read_text("utf-8")
    reading = read_off(result)
    protocol = result.protocol
    return Template(template).substitute(
        head=opening(
            "lab",
            title=f"{protocol.name}: cxr-infer lab",
            headline="What denoising keeps, removes and invents",
            when=_when(result),
            style=asset("report.css") + (files(__package__) / "lab.css").read_text("utf-8"),
        ),
        notice=text(RESEARCH_USE),
        alerts=_alerts(reading),
        reading=_reading(reading),
        contents=_contents(result.findings),
        figures="".join(_figures(result)),
        methods=methods_section(methods_text(result)),
        about=_about(result),
    )


def _when(result: LabResult) -> str:
    day = datetime.fromisoformat(result.date)
    protocol = result.protocol
    return f"{day.day} {day:%B %Y}. Protocol {protocol.name}, version {protocol.version}, seed {protocol.seed}."


def _alerts(reading: Reading) -> str:
    lines = "".join(f"<li>{text(line)}</li>\n" for line in reading.against)
    return f'<ul class="alert">\n{lines}</ul>' if lines else ""


def _reading(reading: Reading) -> str:
    said = "".join(f"<li>{text(line)}</li>\n" for line in reading.sentences)
    tables = "".join(
        f"<h3>{text(one.title)}</h3>\n{_table(one.title, one.headings, one.rows, one.note)}" for one in reading.tables
    )
    return f'<ul class="said">\n{said}</ul>\n{tables}'


def _table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], note: str = "", names: int = 1) -> str:
    """names: number of text columns on the left."""
    head = "".join(f'<th scope="col">{text(heading)}</th>' for heading in headings)
    body = "".join(
        f'<tr><th scope="row">{text(first)}</th>{"".join(f"<td>{text(cell)}</td>" for cell in rest)}</tr>\n'
        for first, *rest in rows
    )
    under = f'<p class="below">{text(note)}</p>' if note else ""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{text(title)}"><table class="names-{names}">\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table></div>\n{under}"
    )


def _contents(findings: Sequence[Finding]) -> str:
    studies = _by_study(findings)
    return "".join(f'<li><a href="#{text(name)}">{text(study_title(name))}</a></li>\n' for name in studies)


def _by_study(findings: Sequence[Finding]) -> Mapping[str, list[Finding]]:
    studies: dict[str, list[Finding]] = {}
    for finding in findings:
        studies.setdefault(finding.study, []).append(finding)
    return studies


def study_title(name: str) -> str:
    """Return the name of a study as a heading."""
    words = name.replace("-", " ")
    return words[:1].upper() + words[1:]


def _figures(result: LabResult) -> Iterator[str]:
    looks = looks_of(result.findings, subject_of(result), NOISY)
    for name, found in _by_study(result.findings).items():
        yield f'<section aria-labelledby="{text(name)}">\n<h2 id="{text(name)}">{text(study_title(name))}</h2>\n'
        for finding in found:
            yield _card(finding, looks)
        yield "</section>\n"


def _card(finding: Finding, looks: Mapping[str, int]) -> str:
    drawn = "".join(
        f'<figure class="panel"><figcaption>{text(condition)}</figcaption>{svg}</figure>\n'
        for condition, svg in panels(finding, looks)
    )
    maps = map_figures(finding.maps)
    facts = [
        ("measured", finding.measured),
        ("on", finding.on),
        ("n", drawn_words(finding)),
        ("seed", f"{finding.seed}"),
        ("better", {True: "higher", False: "lower", None: ""}[finding.higher_is_better]),
        ("source", finding.source),
    ]
    told = "".join(f"<div><dt>{name}</dt><dd>{text(value)}</dd></div>\n" for name, value in facts if value)
    return (
        f'<article class="card finding">\n<header><h3>{text(finding.title)}</h3></header>\n'
        f'{_legend(finding, looks)}<div class="panels">\n{drawn}</div>\n'
        f'{f"""<div class="maps">{maps}</div>""" if maps else ""}'
        f'<p class="caution"><b>Caution:</b> {text(finding.caution)}</p>\n'
        f'<dl class="facts about">{told}</dl>\n{_numbers(finding)}</article>\n'
    )


def _legend(finding: Finding, looks: Mapping[str, int]) -> str:
    methods = list(dict.fromkeys(each.method for each in finding.series))
    shown = "".join(f"<li>{swatch(looks[method])}{text(method)}</li>" for method in methods)
    return f'<ul class="legend">{shown}</ul>\n' if methods else ""


def _numbers(finding: Finding) -> str:
    """List all points as text, for readers who cannot see the curves or want to copy values."""
    if not finding.series:
        return ""
    rows = [
        [series.method, series.condition, shown_number(x, 4), shown_estimate(y)]
        for _, series, x, y in points([finding])
    ]
    headings = ("method", "condition", label_of(finding.x), f"{label_of(finding.y)} (95% interval)")
    table = _table(f"Figures: {finding.title}", headings, rows, names=2)
    return f"<details><summary>Figures</summary>\n{table}</details>\n"


def methods_text(result: LabResult) -> list[str]:
    """Describe what was done, for the methods section of a paper. Paragraphs without markup."""
    protocol, versions = result.protocol, result.versions
    changed = f", changed on the command line ({'; '.join(result.changed)})" if result.changed else ""
    tested = "; ".join(f"{one.name}{f', SHA-256 {one.sha256}' if one.sha256 else ''}" for one in result.methods)
    return [
        f"Denoising was assessed with cxr-infer lab {versions.get('cxr-infer', '')} (MIT licence), protocol "
        f"{protocol.name}, version {protocol.version}{changed}, SHA-256 {protocol_hash(protocol)}, seed "
        f"{protocol.seed}. Methods: {tested}. {_worked_on(result)} {_exposed(result)} Intervals are 95%.",
        f"Computed on {result.cpu} with "
        f"{', '.join(f'{name} {number}' for name, number in versions.items() if name != 'cxr-infer')}.",
        "To repeat it, run the command below: the same protocol, methods and images give the same figures, apart from "
        "rounding on other processors.",
    ]


def _worked_on(result: LabResult) -> str:
    images = result.images
    sizes = list(dict.fromkeys(f"{one.width} x {one.height}" for one in images))
    frames = f", and {len(result.frames)} repeated exposures" if result.frames else ""
    return f"Images: {len(images)} of {', '.join(sizes)} px{frames}." if images else ""


def _exposed(result: LabResult) -> str:
    protocol, names = result.protocol, [one.name for one in result.methods]
    doses = ", ".join(shown_number(dose) for dose in protocol.doses)
    fewer = "".join(f", the first {draws} for {name}" for name, draws in protocol.fewer_draws.items() if name in names)
    spacing = "sizes in px" if protocol.spacing is None else f"{protocol.spacing:g} mm per pixel"
    return (
        f"Noise: {', '.join(protocol.noises)}, at {doses} photons at white, {protocol.draws} draws per point"
        f"{fewer}; {spacing}."
    )


def _about(result: LabResult) -> str:
    facts = [
        ("protocol", f"{result.protocol.name}, version {result.protocol.version}"),
        ("its SHA-256", protocol_hash(result.protocol)),
        *((f"SHA-256 of {one.name}", one.sha256) for one in result.methods if one.sha256),
        ("images", ", ".join(f"{one.name} ({one.sha256[:HASH_SHOWN]})" for one in (*result.images, *result.frames))),
        ("versions", ", ".join(f"{name} {number}" for name, number in result.versions.items())),
        ("command", " ".join(result.command)),
    ]
    return "".join(f"<dt>{text(label)}</dt><dd>{text(value)}</dd>\n" for label, value in facts if value)
