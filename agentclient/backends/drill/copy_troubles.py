"""What a drill's copies come upon: a closed list, each first seen on a real guest."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

NO_SPACE: Final = "No space left on device"
CANCELLED: Final = "Operation canceled"
MIB: Final = 1 << 20
RATE: Final = 16 * MIB
"""Bytes a second that a job copies without a limit."""
ROOT_BYTES: Final = 384 * MIB
DATA_BYTES: Final = 640 * MIB
OTHERS_RATE: Final = 2 * MIB


class CopyTrouble(StrEnum):
    """What happens to the copies of a simulated guest."""

    NONE = "none"
    STALLS = "stalls"
    FULL = "full"
    RAW = "raw"
    OTHERS = "others"
    LEFT = "left"


class CopyTroubleDescription(NamedTuple):
    """The description of a trouble.

    Attributes:
        clause: what happens, for a person: the end of a sentence about the guest.
        shown_by: the test in tests/guests in which a real guest's copies behaved so.
    """

    clause: str
    shown_by: str


COPY_TROUBLES: Final[Mapping[CopyTrouble, CopyTroubleDescription]] = MappingProxyType(
    {
        CopyTrouble.NONE: CopyTroubleDescription(
            "has disks whose copies take about 40 s",
            "test_fact_backups_of_one_transaction_are_of_their_start",
        ),
        CopyTrouble.STALLS: CopyTroubleDescription(
            "copies to a storage that takes nothing any more, a third of the way",
            "test_fact_a_slow_target_stalls_the_guest_under_a_backup_alone",
        ),
        CopyTrouble.FULL: CopyTroubleDescription(
            "copies to a storage that is full half-way",
            "test_fact_a_full_target_ends_the_job",
        ),
        CopyTrouble.RAW: CopyTroubleDescription(
            "has a disk in the raw format, which has no room for snapshots or bitmaps",
            "test_fact_a_raw_disk_keeps_no_bitmap",
        ),
        CopyTrouble.OTHERS: CopyTroubleDescription(
            "is being backed up by somebody else, again and again",
            "test_fact_a_job_is_seen_above_the_disk_and_keeps_others_off",
        ),
        CopyTrouble.LEFT: CopyTroubleDescription(
            "has a backup in its QEMU that a frostwatch which was killed has left",
            "test_a_copy_that_was_left_while_it_is_copied_is_found_and_ended",
        ),
    }
)
