from controlplane.cli import exits


def test_codes_differ_and_are_all_explained():
    codes = {name: value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)}
    assert len(set(codes.values())) == len(codes) == 6
    assert all(f"{value} " in exits.EPILOG for value in codes.values())
