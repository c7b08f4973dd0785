"""TensorBoard's own readers accept our event files, also after a resume cut one back. Usage: check_events.py SAMPLES"""

import math
import sys

from tensorboard.backend.event_processing.directory_watcher import DirectoryWatcher
from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

folder = sys.argv[1] + "/events"
accumulator = EventAccumulator(folder, size_guidance={SCALARS: 0})
accumulator.Reload()
assert accumulator.Tags()["scalars"] == ["reward/mean", "lr", "loss"], accumulator.Tags()

reward = accumulator.Scalars("reward/mean")
assert [event.step for event in reward] == list(range(300)), [event.step for event in reward]
assert [event.value for event in reward] == [0.25 * s for s in range(6)] + [-0.5 * s for s in range(6, 300)]
assert reward[3].wall_time == 1750000003.0 and reward[6].wall_time == 1750000106.0
assert [event.step for event in accumulator.Scalars("lr")] == list(range(6))
assert all(math.isnan(event.value) for event in accumulator.Scalars("loss"))

watched = list(DirectoryWatcher(folder, EventFileLoader).Load())
versions = [event.file_version for event in watched if event.HasField("file_version")]
assert versions == ["brain.Event:2"] * 2, versions
assert len(watched) == 302, len(watched)
