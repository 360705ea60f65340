from __future__ import annotations

import os
from pathlib import Path

from easyalert.setting_places import Places


def at(folder):
    places = Places()
    places.state_dir = Path(folder)
    return places


def test_the_run_folder_moves_when_its_path_is_too_long_for_a_socket(tmp_path):
    short = at("/srv/ea")
    assert short.run_dir == Path("/srv/ea/run")
    long = at(tmp_path / ("x" * 100))
    other = at(tmp_path / ("y" * 100))
    assert long.run_dir != other.run_dir
    for settings in (short, long, other):
        for path in (settings.redis_socket, settings.supervisor_socket, settings.wakeup_socket):
            assert len(os.fsencode(path)) < 108


def test_every_file_of_the_agent_lies_in_its_state_directory():
    names = [name for name, member in vars(Places).items() if isinstance(member, property)]
    paths = [getattr(at("/srv/ea"), name) for name in names]
    assert len(paths) >= 10
    assert all(path.is_relative_to("/srv/ea") for path in paths)
    assert len(set(paths)) == len(paths)
