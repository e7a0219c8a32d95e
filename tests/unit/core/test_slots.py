"""Which slot a job gets, and how it stands in an attempt token."""
from __future__ import annotations

import unittest

from core.settings import MAX_LIMIT
from core.slots import free_slot, group_digest, slot_of, with_slot, without_slot
from storage.layout import WIDTH, encode_line2


class SlotTest(unittest.TestCase):

    def test_a_job_gets_the_smallest_slot_that_is_free_if_fewer_run_than_may(self):
        for limit, held, slot in ((1, [], 0), (1, [0], None), (3, [0, 1], 2), (3, [1, 2], 0), (3, [2, 0], 1), (3, [0, 1, 2], None),
                                  (0, [], None), (2, [5, 1], None), (2, [5], 0), (3, [0, 7], 1), (2, [None], 0), (2, [None, None], None),
                                  (3, [None, 0], 1)):
            with self.subTest(limit=limit, held=held):
                self.assertEqual(free_slot(limit, held), slot)

    def test_the_slot_in_a_token_is_found_again_and_can_be_taken_off(self):
        for slot in (0, 7, 999):
            token = with_slot("0123456789ab-17", slot)
            with self.subTest(token):
                self.assertEqual((slot_of(token), without_slot(token)), (slot, "0123456789ab-17"))

    def test_a_token_without_a_slot_has_none_whatever_a_hand_has_written(self):
        for token in (None, "", "0123456789ab-17", "s3", "x-s", "x-1s", "x-1s-1", "x-1s9999", "x-1sx", "s1-2", "sss-3"):
            with self.subTest(token):
                self.assertEqual(slot_of(token), 3 if token == "s3" else None)
        self.assertEqual([without_slot(token) for token in ("", "s1-2", "abs-3")], ["", "s1-2", "abs-3"])

    def test_the_greatest_slot_fits_into_the_column_beside_an_attempt_number_of_nine_digits(self):
        token = with_slot("0123456789ab-999999999", MAX_LIMIT - 1)
        self.assertEqual(len(encode_line2(("processing", 1, None, None, None, None, None, token))), WIDTH)

    def test_a_group_of_any_text_has_a_digest_of_eight_digits(self):
        self.assertEqual(sorted(map(len, {group_digest(group) for group in ("gpu", "Gpu", "\u00e4 \ud800", "x" * 100)})), [8] * 4)


if __name__ == "__main__":
    unittest.main()
