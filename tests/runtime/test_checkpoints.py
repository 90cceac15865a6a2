from raymap.runtime.checkpoints import LocalCheckpoints


def keep(kept, folder, *points):
    for step, loss in points:
        written = folder / "written"
        written.mkdir(exist_ok=True)
        (written / "model").write_text(str(step))
        kept.keep({"step": step} | ({} if loss is None else {"val_loss": loss}), written)


def test_the_last_and_the_best_stay(tmp_path):
    kept = LocalCheckpoints(tmp_path / "checkpoints")
    assert kept.last() is None and kept.best() is None
    keep(kept, tmp_path, (10, 3.0), (20, 1.0), (30, 2.0), (40, 5.0))
    assert sorted(path.name for path in kept.folder.iterdir()) == ["step_00000020", "step_00000040"]
    assert (kept.best() / "model").read_text() == "20" and (kept.last() / "model").read_text() == "40"


def test_what_is_not_validated_is_no_better_than_the_last(tmp_path):
    kept = LocalCheckpoints(tmp_path / "checkpoints")
    keep(kept, tmp_path, (10, None), (20, None))
    assert kept.best() == kept.last() and kept.last().name == "step_00000020"


def test_a_half_written_checkpoint_is_none(tmp_path):
    kept = LocalCheckpoints(tmp_path / "checkpoints")
    keep(kept, tmp_path, (10, 1.0))
    (kept.folder / ".step_00000020.partial").mkdir()
    assert kept.last().name == "step_00000010"
    keep(kept, tmp_path, (20, 0.5))
    assert [path.name for path in kept.folder.iterdir()] == ["step_00000020"]
