"""Promises quoted from README.md, SECURITY.md and the site, and the tests that fail if one is broken."""

from __future__ import annotations

PROMISES: dict[str, dict[str, list[str]]] = {
    "README.md": {
        "Results keep folders and names.": ["test_cli.py::test_a_directory_is_denoised_into_the_same_tree"],
        "Originals are never modified": ["test_torture.py::test_only_results_are_written_and_originals"],
        "an interrupted run continues where it stopped": ["test_faults.py::test_a_run_killed_at_20_moments"],
        "no torch, compiler or GPU": ["test_house.py::test_every_module_imports_without_the_other_stages"],
        "this installs the command, draws sample X-rays and denoises": [
            "test_readme.py::test_the_readme_contains_the_first_command_verbatim",
            "test_house.py::test_ci_runs_the_readme_command",
            "test_cli.py::test_sample_then_dir_then_compare",
        ],
        "PSNR in dB / SSIM on 24 real chest X-rays": [
            "test_readme.py::test_the_table_has_the_figures_of_the_benchmark"
        ],
        "Colour, multi-frame, signed and 32-bit integer images are refused": [
            "test_torture.py::test_every_file_has_its_expected_outcome"
        ],
        "an array (H, W), dtype as stored": ["test_denoiser.py::test_the_pixel_type_is_preserved"],
        "`--strength 0.5` halves the effect": ["test_denoiser.py::test_strength_blends_the_residual"],
    },
    "docs/guide/report.md": {
        "one file that opens from disk in any browser and loads nothing": [
            "test_html_report.py::test_the_page_is_well_formed_and_self_contained"
        ],
        "a sortable, filterable table with the reason for every failure and skip": [
            "test_html_report.py::test_failed_and_ignored_files_are_listed_with_reasons_without_folders"
        ],
        "with `--reference`, also the clean image and after minus clean": [
            "test_html_report.py::test_a_reference_adds_its_picture"
        ],
        "a paragraph for the methods section": ["test_html_table.py::test_the_methods_paragraph_is_complete"],
        "Compression preserves the strength of the grain": [
            "test_html_pictures.py::test_compression_preserves_the_strength_of_grain"
        ],
        "the file stays below 25 MB": ["test_html_pictures.py::test_100_images_with_references_and_details_stay_below"],
        "images with the lowest PSNR": [
            "test_html_pictures.py::test_the_worst_and_a_uniform_random_sample_are_selected",
            "test_html_pictures.py::test_a_low_psnr_ranks_worse_than_remaining_mottle",
        ],
        "The table lists the first 1,000 files of each outcome": ["test_html_table.py::test_the_table_is_bounded"],
        "never patient attributes or the folders above IN": [
            "test_html_report.py::test_no_patient_attribute_appears",
            "test_html_report.py::test_folders_are_left_out_of_messages",
        ],
        "An interrupted run writes its report as well": [
            "test_html_report.py::test_an_interrupted_run_leaves_a_valid_page"
        ],
        "`--csv` writes one row per file": [
            "test_columns.py::test_the_csv_has_a_row_per_file_and_then_the_means_of_each_folder"
        ],
    },
    "docs/guide/browser.md": {
        "keeps nothing unless both files have the SHA-256": [
            "test_fetch.py::test_a_failed_download_leaves_nothing_behind",
            "test_web.py::test_a_missing_or_altered_runtime_is_refused",
        ],
        "without `--fetch` none is ever used": ["test_fetch.py::test_the_command_downloads_once_on_request"],
        "the page can connect only to its own address": ["test_web.py::test_every_response_isolates_the_page"],
        "for this machine only": ["test_web.py::test_the_server_listens_on_loopback_only"],
    },
    "docs/guide/cluster.md": {
        "the result is identical to the byte to that of one run": [
            "test_shards.py::test_two_concurrent_shards_produce_all_results"
        ],
        "New files do not change the share of any file": [
            "test_shards.py::test_every_name_is_in_one_shard_of_about_the_same_size"
        ],
        "continues where the shards stopped": ["test_shards.py::test_records_of_a_killed_shard_are_used_by_other_runs"],
        "Results, records and reports are those of the local engine": [
            "test_ray.py::test_results_are_the_same_as_on_one_machine"
        ],
        "If an actor is lost, others take over its images": [
            "test_ray.py::test_images_of_a_killed_actor_are_processed_by_others",
            "test_ray.py::test_only_an_image_that_kills_its_actor_every_time_fails",
        ],
        "never from the URL, and are never shown": [
            "test_bucket.py::test_invalid_urls_are_refused",
            "test_bucket.py::test_secrets_in_urls_are_not_shown",
        ],
        "S3 is listed in pages": ["test_bucket.py::test_a_listing_is_read_page_by_page"],
        "for `gs://` and `az://` all names are in memory": [
            "test_bucket.py::test_keys_with_empty_parts_are_listed_in_other_stores"
        ],
        "After a kill, the same command does the rest, also with": [
            "test_bucket.py::test_shards_complete_a_killed_run"
        ],
        "Keys that differ only in empty parts": [
            "test_bucket.py::test_every_key_is_a_separate_object_and_two_never_share_a_result"
        ],
    },
    "docs/guide/python.md": {
        "The examples use the files made by": ["test_guide.py::test_the_python_guide_runs_from_top_to_bottom"],
        "in any byte order": ["test_arrays.py::test_byte_order_does_not_matter"],
        "Lists, gray Pillow images and tensors": [
            "test_arrays.py::test_lists_tensors_and_gray_pillow_images_are_accepted"
        ],
        "Anything else raises an `ImageError`": ["test_arrays.py::test_non_gray_arrays_are_refused_in_one_line"],
        "is loaded on first use and kept": ["test_library.py::test_a_named_model_is_loaded_once"],
        "and `denoise` warns": ["test_library.py::test_a_low_range_warns_once_unless_white_is_given"],
        "This works like [`cxr-infer dir`](denoise.md)": ["test_library.py::test_denoise_directory_gives_the_results"],
    },
    "docs/guide/embedding.md": {
        "(its hash matches its card or manifest)": ["test_natural.py::test_models_are_listed_as_json"],
        "prints the path of a file": ["test_natural.py::test_models_path_prints_the_path_alone"],
        "Both programs read a gray": [
            "test_examples.py::test_a_twelve_line_program_writes_the_same_png_as_this_project"
        ],
        "Each runs the models on their test tensors without cxr-infer": [
            "test_examples.py::test_an_example_gives_the_expected_output",
            "test_examples.py::test_no_example_imports_this_project",
        ],
        "exits with 1 if it exceeds the tolerance": ["test_examples.py::test_an_example_fails_if_the_output_differs"],
    },
    "docs/guide/install.md": {
        "Extras add optional features": ["test_extras.py::test_install_commands_have_the_packages_of_the_extra"],
        "the hash of each model file and its output": [
            "test_verify.py::test_the_shipped_models_reproduce_their_expected_outputs"
        ],
    },
    "docs/guide/lab.md": {
        "the same command continues and gives the same figures": [
            "test_lab.py::test_a_stopped_run_resumes_with_the_same_figures",
            "test_lab.py::test_a_killed_run_resumes_with_the_same_figures",
        ],
        "Links in the result directory are not followed": [
            "test_runner.py::test_links_and_fifos_planted_in_a_result_are_refused_by_name",
            "test_result.py::test_links_in_place_of_results_are_not_followed",
        ],
        "One file that loads nothing": ["test_page.py::test_the_page_is_well_formed_and_loads_nothing"],
        "all figures with their intervals, the protocol, seeds": [
            "test_result.py::test_a_result_records_how_it_was_made"
        ],
        "one row per point": ["test_result.py::test_the_table_has_a_row_for_every_point"],
        "Each figure below says what was measured": ["test_page.py::test_every_figure_is_described"],
        "without them it prints the command that installs them": [
            "test_extras.py::test_a_missing_package_gives_one_line_with_its_install_command"
        ],
        "its curve and spectrum are measured from": [
            "test_exposures.py::test_the_noise_of_a_detector_is_recovered_from_its_frames"
        ],
        "cropped to the middle `side` px": ["test_laboratory.py::test_clean_images_are_cut_to_the_middle"],
        "DICOM files contain the pixel spacing": [
            "test_laboratory.py::test_the_spacing_is_that_on_which_all_files_agree"
        ],
        "models are identified by their hash": ["test_runner.py::test_units_belong_to_one_protocol_method_and_image"],
        "is refused before anything is measured": [
            "test_protocol_files.py::test_errors_name_the_file_the_key_and_the_way_out"
        ],
        "results with equal hashes are comparable": [
            "test_protocol_files.py::test_the_hash_covers_everything_except_the_methods"
        ],
        "version, protocol with its hash and seed": [
            "test_page.py::test_the_methods_text_names_changes_and_the_command"
        ],
    },
    "docs/guide/files.md": {
        "**Originals are never modified.**": ["test_torture.py::test_only_results_are_written_and_originals"],
        "links in the output are not followed.": [
            "test_paths.py::test_an_output_subfolder_that_is_a_link_is_not_followed"
        ],
        "**A result is complete or absent.**": [
            "test_faults.py::test_a_run_killed_at_20_moments_is_completed_bit_exact",
            "test_faults.py::test_a_result_appears_after_it_and_its_record_are_synced",
        ],
        "If two inputs would have the same result": ["test_paths.py::test_two_inputs_for_one_result_are_an_error"],
        "a result that was truncated, or zeroed by a failing disk": [
            "test_known_results.py::test_a_truncated_result_is_recomputed_and_reported"
        ],
        "A file that cxr-infer did not write": ["test_paths.py::test_a_file_in_place_of_a_result_is_kept_or_replaced"],
        "**A report is a new file.**": ["test_reports.py::test_a_report_is_a_new_file_even_if_its_name_was_a_link"],
        "If a report cannot be written": ["test_reports.py::test_any_failure_of_a_report_is_reported_in_one_line"],
        "**Every skipped or failed file is reported.**": ["test_torture.py::test_each_failure_is_reported_in_one_line"],
        "or send control codes to the terminal.": ["test_torture.py::test_names_reach_the_terminal_only_as_plain_text"],
        "**Ctrl-C and SIGTERM**": ["test_environments.py::test_a_signal_ends_the_run_with_complete_files"],
        "failing or missing ends the run": [
            "test_faults.py::test_a_failing_disk_ends_the_run",
            "test_faults.py::test_an_output_that_is_moved_away_ends_the_run",
        ],
        "**Only one run at a time** may write to an output": ["test_faults.py::test_a_run_into_an_output_in_use"],
    },
    "docs/guide/denoise.md": {
        "measured, shown and listed like the others": ["test_finished.py::test_a_second_run_measures_and_shows"],
        "The output folder must be outside the input folder": ["test_cli.py::test_a_link_in_the_output_cannot_lead"],
        "if none has one, the command ends with status 2": ["test_messages.py::test_errors_say_what_was_found"],
        "file counts as complete when it has not changed": [
            "test_watch.py::test_a_file_is_listed_once_it_is_stable_and_again_after_a_change",
            "test_watch.py::test_a_file_is_not_complete_while_it_is_open_for_writing",
        ],
        "`-` is standard input or output": ["test_natural.py::test_piped_images_give_the_bytes_of_a_result_file"],
        "At 0 the input is returned unchanged": ["test_cli.py::test_strength_0_returns_the_input"],
        "tried on a small image first": ["test_session.py::test_a_trial_refuses_models_that_do_not_denoise"],
        "without visible seams": ["test_denoiser.py::test_windows_leave_no_seams"],
        "limits the memory of the network, in MB; the default is 320": [
            "test_denoiser.py::test_memory_limits_the_pixels_in_the_network_at_once"
        ],
        "defaults to the number that CPU affinity and container quota allow": [
            "test_hardware.py::test_container_quotas_of_both_cgroup_versions_are_respected",
            "test_hardware.py::test_affinity_is_respected",
        ],
        "It applies to references and to `compare` as well": ["test_cli.py::test_12_bit_data_in_a_16_bit_file"],
        "and results are swapped like their sources": ["test_dicom_window.py::test_a_picture_can_be_inverted"],
        "it must load within 60 s": ["test_session.py::test_an_endless_model_is_terminated"],
    },
    "docs/guide/dicom.md": {
        "Results of cxr-infer are skipped as input": ["test_dicom_derived.py::test_a_result_is_not_denoised_again"],
        "unchanged attributes are copied byte for byte": ["test_dicom_text.py::test_text_bytes_are_preserved"],
        "wrapping differences, as some vendors write": [
            "test_dicom_codestreams.py::test_wrapped_differences_give_the_true_pixels"
        ],
        "checked against DCMTK and GDCM": ["test_dicom_decoders.py::test_images_encoded_by_dcmtk_match_gdcm"],
        "Presentation states, reports, key objects and images of other classes": [
            "test_dicom_directory.py::test_x_rays_of_a_study_are_denoised_and_other_files_ignored"
        ],
        "The SOP class decides": [
            "test_dicom_classes.py::test_the_class_decides_and_a_contradicting_modality_is_noted"
        ],
        "pixels outside it are denoised too": ["test_dicom_window.py::test_values_outside_the_window_are_denoised_too"],
        "or a PresentationLUTShape of INVERSE": [
            "test_dicom_window.py::test_photometric_interpretation_and_lut_shape_decide_what_is_white"
        ],
        "at `--strength 0` they are identical to the bit": [
            "test_dicom_window.py::test_strength_0_leaves_every_pixel_unchanged"
        ],
        "the result is compressed losslessly in the same family as its source": [
            "test_dicom_compression.py::test_the_compression_family_and_every_pixel_are_kept"
        ],
        "which changes neither pixels nor UIDs": [
            "test_dicom_compression.py::test_the_instance_uid_does_not_depend_on_the_compression"
        ],
        "lossy JPEG 2000 become lossless": ["test_dicom_compression.py::test_lossy_jpeg_2000_becomes_lossless"],
        "are uncompressed, with a note": [
            "test_dicom_compression.py::test_other_compression_families_are_left_uncompressed_with_a_note"
        ],
    },
    "docs/guide/formats.md": {
        "any of these under another name or without a suffix": [
            "test_torture.py::test_every_file_has_its_expected_outcome",
        ],
        "and whose pixels are opaque": ["test_tiff.py::test_opaque_alpha_is_ignored_and_other_alpha_is_refused"],
        "with a tRNS value that no pixel has": ["test_torture.py::test_strength_0_returns_pixels_bit_exact"],
        "never reduced to the first picture or blended": [
            "test_tiff.py::test_files_other_than_one_gray_picture_are_refused_with_the_reason"
        ],
        "Thumbnails, overviews and pyramids do not count": [
            "test_tiff.py::test_reduced_copies_in_sub_ifds_are_not_pages",
            "test_tiff.py::test_a_picture_in_the_sub_ifd_of_its_thumbnail_is_found",
        ],
        "with a missing or damaged strip": ["test_tiff.py::test_zeroed_strips_are_refused_as_damaged"],
        "PNG and TIFF keep resolution": ["test_pictures.py::test_resolution_is_kept"],
        "A profile or gamma that cannot be kept is reported": [
            "test_pictures.py::test_gamma_is_kept_within_png_and_its_loss_is_noted_elsewhere"
        ],
    },
    "docs/guide/node.md": {
        "Without `--bind` or `address`, the node listens on 127.0.0.1": [
            "test_set_up.py::test_the_configuration_in_the_guide_has_the_defaults"
        ],
        "The first matching rule applies": ["test_set_up.py::test_the_first_rule_applies"],
        "503 means that there is no room now": ["test_stow_input.py::test_lack_of_space_is_reported_as_status_503"],
        "A file is taken once it is complete": [
            "test_folder.py::test_a_file_is_not_processed_while_it_is_being_written"
        ],
        "It is moved or remembered only after it is synced": [
            "test_folder.py::test_a_file_is_moved_once_it_is_in_the_spool",
            "test_folder.py::test_nothing_is_moved_or_remembered_while_the_spool_has_no_room",
        ],
        "the audit does not, because file names may be": ["test_folder.py::test_non_dicom_files_are_named"],
        "for each file what would happen, and does nothing": ["test_set_up.py::test_a_dry_run_reports_the_plan"],
        "It contains no attribute of a patient": [
            "test_stow_input.py::test_no_patient_data_is_logged",
            "test_node.py::test_originals_and_results_arrive_and_the_spool_is_emptied",
        ],
        "200 once the model is loaded": [
            "test_pages.py::test_health_is_200_only_with_a_model",
            "test_node.py::test_originals_and_results_arrive_and_the_spool_is_emptied",
        ],
        "An image is acknowledged only after it is synced to disk.": [
            "test_spool.py::test_acknowledged_instances_survive_a_kill_at_any_moment",
            "test_receiving.py::test_a_disk_that_fills_up_loses_no_acknowledged_instance",
        ],
        "whatever crashes or loses power in between": ["test_node.py::test_kills_at_random_moments"],
        "They are forwarded at once, byte for byte.": [
            "test_node_tools.py::test_the_node_forwards_from_storescu_to_storescp"
        ],
        "are forwarded unchanged": ["test_node.py::test_hostile_content_is_passed_on_and_others_are_processed"],
        "a file with a mistake changes nothing": ["test_node.py::test_rules_apply_and_are_reloaded_when_changed"],
        "Unsent images are never removed": ["test_spool.py::test_nothing_unsent_is_ever_expired_swept_or_purged"],
        "counts as sent only after the destination's N-EVENT-REPORT": [
            "test_sending.py::test_an_instance_counts_as_sent_only_after_storage_commitment",
            "test_node_tools.py::test_the_node_sends_to_orthanc_with_storage_commitment",
        ],
        "ends with status 0": ["test_node.py::test_originals_and_results_arrive_and_the_spool_is_emptied"],
    },
    "SECURITY.md": {
        "links in it are not followed, only plain files are read": [
            "test_runner.py::test_links_and_fifos_planted_in_a_result_are_refused_by_name"
        ],
        "stored arrays within the size of their file": [
            "test_runner.py::test_a_compressed_unit_takes_no_memory_and_is_computed_again"
        ],
        "oversized PDUs and instances": [
            "test_receiving.py::test_an_oversized_pdu_ends_the_connection_before_it_is_read",
            "test_receiving.py::test_an_oversized_instance_is_refused_while_it_arrives",
        ],
        "addresses and AE titles can be restricted": [
            "test_receiving.py::test_an_address_not_on_the_list_gets_no_response",
            "test_receiving.py::test_an_ae_title_not_on_the_list_gets_no_association",
        ],
        "TLS requires certificates of both sides": ["test_receiving.py::test_tls_accepts_only_known_certificates"],
        "only plain files are opened, without waiting": ["test_torture.py::test_every_file_has_its_expected_outcome"],
        "refused before decoding if its header": [
            "test_dicom_refused.py::test_compressed_images_with_false_headers_are_refused"
        ],
        "decoded in a separate process with limits": [
            "test_decoder_process.py::test_images_of_a_run_are_decoded_in_a_separate_process"
        ],
        "crashes, hangs or exceeds a limit gives one line": [
            "test_decoder_process.py::test_a_decoder_failure_is_one_error_line_for_its_file"
        ],
        "The child ends with its parent": ["test_decoder_process.py::test_a_busy_decoder_ends_with_its_parent_process"],
        "Only pixels are accepted from it": [
            "test_decoder_process.py::test_implausible_answers_of_a_decoder_process_are_rejected"
        ],
        "Where no child is possible": [
            "test_decoder_process.py::test_decoding_falls_back_to_this_process_if_fork_fails"
        ],
        "single file only, values in other files are refused": [
            "test_onnx_wire.py::test_external_values_are_found_in_every_encoding",
            "test_session.py::test_weights_in_another_file_are_not_fetched",
        ],
        "checks their SHA-256 and their output": ["test_verify.py::test_each_fault_is_reported_in_one_line"],
        "a key cannot lead out of OUT": ["test_bucket.py::test_a_key_cannot_lead_out_of_the_output_directory"],
        "and are never shown": ["test_bucket.py::test_secrets_in_urls_are_not_shown"],
        "it listens on 127.0.0.1 only": ["test_web.py::test_the_server_listens_on_loopback_only"],
        "answers only to its own host name": ["test_web.py::test_another_host_name_is_refused"],
        "serves a fixed list of files": ["test_web.py::test_no_other_path_is_served"],
        "as the default, `IN-denoised`, it may not": ["test_paths.py::test_the_default_output_must_not_be_a_link"],
        "A record file must be a plain file": ["test_paths.py::test_an_invalid_record_file_is_refused_by_name"],
        "Existing files are never written to": ["test_paths.py::test_files_named_by_the_user_are_created_anew"],
        "is kept and named, and the exit status is 1": ["test_paths.py::test_a_file_in_place_of_a_result_is_kept"],
        "links and junctions are checked before each use": ["test_paths.py::test_nothing_is_reached_through_a_link"],
        "are fuzzed with damaged files": ["test_fuzz.py::test_mutated_files_give_a_radiograph_or_a_project_error"],
    },
}
