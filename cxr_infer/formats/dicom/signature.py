"""By what a DICOM file is known."""

from __future__ import annotations

import struct

DICOM_HEAD = 132  # bytes: a preamble of 128 that may hold anything, then DICM (PS3.10 section 7.1)

# a data set without a preamble begins with the group of the header or of identification, and an early element of it;
# the next group is that of acquisition at the latest, which every image has
META_GROUP, IDENTIFYING_GROUP, LAST_FIRST, LAST_GROUP = 0x0002, 0x0008, 0x0070, 0x0018
LONG_REPRESENTATIONS = frozenset({b"OB", b"OW", b"SQ", b"UN", b"UT"})
MOST_VALUE = 1024  # bytes, of one of those
LEAST_ELEMENTS = 2  # that must follow each other
ENCODINGS = (("<", True), ("<", False), (">", True))  # byte order, and whether value representations are named


def is_dicom(head: bytes) -> bool:
    """Whether the first DICOM_HEAD bytes of a file are those of a DICOM file, with a preamble or a data set alone."""
    return has_preamble(head) or any(_is_data_set(head, *encoding) for encoding in ENCODINGS)


def has_preamble(head: bytes) -> bool:
    """Whether a file begins as PS3.10 says."""
    return head[128:DICOM_HEAD] == b"DICM"


def _is_data_set(head: bytes, order: str, explicit: bool) -> bool:
    """Whether the first elements of a file are those of a header or data set, in ascending order."""
    at, last, count = 0, (0, -1), 0
    while at + 12 <= len(head):
        group, element = struct.unpack_from(f"{order}HH", head, at)
        if (group, element) <= last or (count == 0 and element > LAST_FIRST):
            return False
        if group not in (META_GROUP, IDENTIFYING_GROUP):
            return count >= LEAST_ELEMENTS and last[0] == IDENTIFYING_GROUP and group <= LAST_GROUP
        at += 4
        if explicit:
            representation = head[at : at + 2]
            if not (representation.isalpha() and representation.isupper()):
                return False
            long = representation in LONG_REPRESENTATIONS
            (length,) = struct.unpack_from(f"{order}I" if long else f"{order}H", head, at + (4 if long else 2))
            at += 8 if long else 4
        else:
            (length,) = struct.unpack_from(f"{order}I", head, at)
            at += 4
        if length > MOST_VALUE:
            return False
        last, count, at = (group, element), count + 1, at + length
    return count >= LEAST_ELEMENTS
