"""What README.md, SECURITY.md and the site say, held to the program and to the tests that prove it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from cxr_infer.cli.commands import app as infer_app
from cxr_infer.model.card import MODEL_NAMES
from cxr_infer.settings import DEFAULT_MEMORY, MAX_PIXELS, REPORT_LIMIT, WEB_PORT, Settings
from tests.conftest import REPOSITORY

DOCUMENTS = (
    "README.md",
    "SECURITY.md",
    "CONTRIBUTING.md",
    *sorted(page.relative_to(REPOSITORY).as_posix() for page in (REPOSITORY / "docs").rglob("*.md")),
)
OTHERS_OPTIONS = {"--index-url"}  # pip's

# beginnings of promises as they stand there, and the tests that fail where one is broken
PROMISES = {
    "docs/guide/files.md": {
        "**Originals are never modified.**": ["test_torture.py::test_only_results_are_written_and_originals"],
        "links in the output are not followed.": ["test_paths.py::test_a_folder_that_is_a_link_is_not_followed"],
        "**A result is complete or absent.**": [
            "test_faults.py::test_killed_at_20_moments",
            "test_faults.py::test_a_result_appears_once_it_and_its_line_are_on_the_disk",
        ],
        "If two inputs would have the same result": ["test_paths.py::test_two_inputs_for_one_result_are_an_error"],
        "a result that was truncated, or zeroed by a failing disk": [
            "test_known_results.py::test_a_truncated_result_is_done_again_and_said"
        ],
        "A file that cxr-infer did not write": ["test_paths.py::test_what_lies_in_the_place_of_a_result"],
        "**A report is a new file.**": ["test_reports.py::test_a_report_is_a_new_file_whatever_its_name_led_to"],
        "If a report cannot be written": ["test_reports.py::test_whatever_happens_to_a_report_is_one_line"],
        "**Every skipped or failed file is reported.**": ["test_torture.py::test_each_failure_is_one_line"],
        "or send control codes to the terminal.": ["test_torture.py::test_no_name_reaches_the_terminal"],
        "**Ctrl-C and SIGTERM**": ["test_environments.py::test_a_signal_ends_the_run_with_whole_files"],
        "failing or missing ends the run": [
            "test_faults.py::test_a_failing_disk_ends_the_run",
            "test_faults.py::test_an_output_that_is_taken_away_ends_the_run",
        ],
        "**Only one run at a time** may write to an output": ["test_faults.py::test_two_runs_into_one_directory"],
    },
    "docs/guide/denoise.md": {
        "it must load within 60 s": ["test_session.py::test_a_model_without_end_is_given_up"],
    },
    "docs/guide/dicom.md": {
        "Results of cxr-infer are skipped as input": ["test_dicom_derived.py::test_a_result_is_not_denoised_again"],
        "unchanged attributes are copied byte for byte": ["test_dicom_text.py::test_bytes_are_carried"],
        "wrapping differences, as some vendors write": [
            "test_dicom_codestreams.py::test_differences_that_wrap_give_the_true_pixels"
        ],
        "checked against DCMTK and GDCM": ["test_dicom_decoders.py::test_what_dcmtk_encodes_is_what_gdcm_decodes"],
        "Presentation states, reports, key objects and images of other classes": [
            "test_dicom_directory.py::test_a_study_is_done_and_what_is_no_x_ray_is_left_alone"
        ],
        "The SOP class decides": ["test_dicom_classes.py::test_the_class_decides_what_an_image_is"],
        "pixels outside it are denoised too": [
            "test_dicom_window.py::test_what_a_window_does_not_show_is_denoised_too"
        ],
        "or a PresentationLUTShape of INVERSE": ["test_dicom_window.py::test_which_end_is_white"],
        "at `--strength 0` they are identical to the bit": [
            "test_dicom_window.py::test_strength_0_gives_every_pixel_back"
        ],
        "the result is compressed losslessly in the same family as its source": [
            "test_dicom_compression.py::test_the_family_is_kept_and_every_pixel"
        ],
        "which changes neither pixels nor UIDs": [
            "test_dicom_compression.py::test_it_is_the_same_instance_however_it_is_compressed"
        ],
        "lossy JPEG 2000 become lossless": [
            "test_dicom_compression.py::test_lossy_jpeg_2000_becomes_lossless_and_stays_marked"
        ],
        "are uncompressed, with a note": [
            "test_dicom_compression.py::test_other_families_are_left_uncompressed_with_a_note"
        ],
    },
    "docs/guide/formats.md": {
        "any of these under another name or without a suffix": [
            "test_torture.py::test_each_becomes_what_it_must",
        ],
        "and whose pixels are opaque": ["test_tiff.py::test_opaque_alpha_is_nothing"],
        "with a tRNS value that no pixel has": ["test_torture.py::test_good_pixels_come_back_to_the_bit"],
        "never reduced to the first picture or blended": [
            "test_tiff.py::test_what_is_not_one_gray_picture_is_refused_by_what_it_is"
        ],
        "Thumbnails, overviews and pyramids do not count": [
            "test_tiff.py::test_copies_below_a_picture_are_no_pages",
            "test_tiff.py::test_a_picture_below_its_thumbnail_is_found",
        ],
        "with a missing or damaged strip": ["test_tiff.py::test_a_strip_of_zeros_is_no_strip"],
        "PNG and TIFF keep resolution": ["test_pictures.py::test_resolution_goes_along"],
        "A profile or gamma that cannot be kept is reported": [
            "test_pictures.py::test_gamma_goes_along_within_png_and_is_said_to_be_lost_elsewhere"
        ],
    },
    "docs/guide/node.md": {
        "An image is acknowledged only after it is synced to disk.": [
            "test_spool.py::test_whatever_was_acknowledged_survives_a_kill",
            "test_receiving.py::test_a_disk_that_fills_up_loses_nothing",
        ],
        "whatever crashes or loses power in between": ["test_node.py::test_kills_at_random_moments"],
        "They are forwarded at once, byte for byte.": ["test_node_tools.py::test_from_storescu_to_storescp"],
        "are forwarded unchanged": ["test_node.py::test_hostile_content_passes_and_others_go_on"],
        "a file with a mistake changes nothing": ["test_node.py::test_rules_decide_and_are_taken_anew"],
        "Unsent images are never removed": ["test_spool.py::test_nothing_unsent_is_ever_expired_swept_or_purged"],
        "counts as sent only after the destination's N-EVENT-REPORT": [
            "test_sending.py::test_what_is_committed_is_done_and_not_before",
            "test_node_tools.py::test_to_orthanc_with_storage_commitment",
        ],
        "ends with status 0": ["test_node.py::test_an_instance_and_its_result_arrive"],
    },
    "SECURITY.md": {
        "oversized PDUs and instances": [
            "test_receiving.py::test_an_oversized_pdu_ends_the_connection_before_it_is_read",
            "test_receiving.py::test_an_instance_that_is_too_large",
        ],
        "addresses and AE titles can be restricted": [
            "test_receiving.py::test_an_address_that_is_not_allowed",
            "test_receiving.py::test_a_title_that_is_not_allowed",
        ],
        "TLS requires certificates of both sides": [
            "test_receiving.py::test_tls_takes_only_certificates_that_it_knows"
        ],
        "only plain files are opened, without waiting": ["test_torture.py::test_each_becomes_what_it_must"],
        "refused before decoding if its header": ["test_dicom_refused.py::test_compressed_images_that_lie"],
        "decoded in a separate process with limits": [
            "test_decoder_process.py::test_images_of_a_run_are_decoded_apart"
        ],
        "crashes, hangs or exceeds a limit gives one line": [
            "test_decoder_process.py::test_what_a_decoder_does_is_one_line"
        ],
        "The child ends with its parent": ["test_decoder_process.py::test_a_decoder_at_work_ends_with_its_process"],
        "Only pixels are accepted from it": ["test_decoder_process.py::test_what_a_child_says_is_not_believed"],
        "Where no child is possible": ["test_decoder_process.py::test_where_no_process_can_be_had_this_one_decodes"],
        "single file only, values in other files are refused": [
            "test_onnx_wire.py::test_values_kept_elsewhere_are_found_however_it_is_written",
            "test_session.py::test_weights_in_another_file_are_not_fetched",
        ],
        "checks their SHA-256 and their output": ["test_verify.py::test_what_is_wrong_is_said_in_one_line"],
        "a key cannot lead out of OUT": ["test_bucket.py::test_an_object_cannot_lead_out_of_a_directory"],
        "and are never shown": ["test_bucket.py::test_what_may_be_secret_is_not_shown"],
        "it listens on 127.0.0.1 only": ["test_web.py::test_only_loopback_listens"],
        "answers only to its own host name": ["test_web.py::test_another_host_is_refused"],
        "serves a fixed list of files": ["test_web.py::test_nothing_else_can_be_asked_for"],
        "as the default, `IN-denoised`, it may not": ["test_paths.py::test_the_default_output_is_no_link"],
        "A record file must be a plain file": ["test_paths.py::test_a_record_file_that_is_none_is_refused_by_name"],
        "Existing files are never written to": ["test_paths.py::test_files_that_the_user_names_are_new_ones"],
        "is kept and named, and the exit status is 1": ["test_paths.py::test_what_lies_in_the_place_of_a_result"],
        "links and junctions are checked before each use": ["test_paths.py::test_nothing_is_reached_through_a_link"],
        "are fuzzed with damaged files": ["test_fuzz.py::test_no_mutated_file_gets_through_a_decoder_unseen"],
    },
}


def text_of(name: str) -> str:
    return (REPOSITORY / name).read_text()


def commands() -> dict[str, dict[str, Any]]:
    """Every command by its program and name; typer's classes have no public types."""
    from cxr_export.cli import app as export_app
    from cxr_train.cli import app as train_app

    programs = {"cxr-infer": infer_app, "cxr-train": train_app, "cxr-export": export_app}
    return {name: _commands_of(typer.main.get_command(app)) for name, app in programs.items()}


def _commands_of(command: Any) -> dict[str, Any]:
    return {"": command, **getattr(command, "commands", {})}


def options_of(command: Any) -> set[str]:
    names = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    return {name for name in names if name.startswith("--")} | {"--help"}


def shown_commands() -> Iterator[str]:
    """Lines of a shell in the documents that begin with a program of ours."""
    for name in DOCUMENTS:
        for block in re.findall(r"^```sh\n(.*?)^```", text_of(name), re.MULTILINE | re.DOTALL):
            yield from re.findall(r"^cxr-[a-z]+ .*$", block, re.MULTILINE)


def test_the_reference_has_every_option_of_every_command() -> None:
    sections = re.split(r"^##+ ", text_of("docs/reference/cli.md"), flags=re.MULTILINE)
    told = {section.split("\n", 1)[0]: set(re.findall(r"`(--[a-z-]+)`", section)) for section in sections}
    for program, known in commands().items():
        for name, command in known.items():
            if not command.hidden:
                assert told[f"{program} {name}".strip()] == options_of(command) - {"--help"}


def test_every_option_named_anywhere_is_one() -> None:
    known = {option for program in commands().values() for each in program.values() for option in options_of(each)}
    for name in DOCUMENTS:
        told = set(re.findall(r"`(--[a-z][a-z-]*)", text_of(name)))
        assert told <= known | OTHERS_OPTIONS, name
    assert len(known) > 30


def test_every_command_line_that_is_shown_could_be_given() -> None:
    lines = list(shown_commands())
    assert len(lines) > 20
    for line in lines:
        program, *words = shlex.split(line, comments=True)
        known = commands()[program]
        command = known.get(words[0] if words else "", known[""])
        told = {word for word in words if word.startswith("--")}
        extra = options_of(known["all"]) | {"--all"} if program == "cxr-train" else set()
        assert told <= options_of(command) | extra, line


def test_defaults_are_those_of_the_program() -> None:
    denoise, report = text_of("docs/guide/denoise.md"), text_of("docs/guide/report.md")
    defaults = {parameter.name: parameter.default for parameter in commands()["cxr-infer"]["dir"].params}
    assert defaults["memory"] == Settings().memory == DEFAULT_MEMORY
    assert f"limits the memory of the network, in MB; the default is {DEFAULT_MEMORY}." in denoise
    assert f"by default above {MAX_PIXELS // 10**6} million pixels" in denoise
    assert defaults["report_limit"] == REPORT_LIMIT
    assert f"Up to {REPORT_LIMIT} images" in report
    assert f"http://127.0.0.1:{WEB_PORT}/" in text_of("docs/guide/browser.md")
    assert (defaults["model"], defaults["deidentify"], defaults["out"]) == ("window", "no", None)
    assert all(f"`{name}`" in denoise for name in MODEL_NAMES)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    """To files; the site's build proves the anchors too."""
    text, folder = text_of(name), (REPOSITORY / name).parent
    targets = [*re.findall(r"\]\(([^)]+)\)", text), *re.findall(r"^\[[^\]]+\]: (\S+)$", text, re.MULTILINE)]
    for target in targets:
        path = target.split("#")[0]
        assert "://" in target or (folder / path).exists(), target


@pytest.mark.parametrize(
    ("document", "promise", "test"),
    [(name, promise, test) for name, all_of in PROMISES.items() for promise, tests in all_of.items() for test in tests],
)
def test_every_promise_has_its_test(document: str, promise: str, test: str) -> None:
    assert promise in " ".join(text_of(document).split()), "a promise was worded anew: see that its test still fits"
    file, function = test.split("::")
    path = next(path for path in _tests() if path.name == file)
    assert re.search(rf"^def {function}\w*\(", path.read_text(), re.MULTILINE)


def _tests() -> Iterator[Path]:
    yield from (REPOSITORY / "tests").rglob("test_*.py")
