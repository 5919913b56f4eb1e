"""The scikit-learn-like face, on small drawn images."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage

from comet_core import CoMet
from comet_core.ensembles import combined, scale_of
from comet_core.errors import InputError


def draw(count: int, dirty: int, size: int = 96) -> list[np.ndarray]:
    """Grey grain; the last `dirty` images carry a bright disc."""
    rng = np.random.default_rng(0)
    out = []
    rows, columns = np.mgrid[:size, :size]
    for i in range(count):
        image = rng.normal(120, 12, (size, size, 1)).repeat(3, 2)
        if i >= count - dirty:
            centre = rng.integers(30, 66, 2)
            disc = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < 14**2
            image[disc] = (250, 40, 30)
        out.append(image.clip(0, 255).astype(np.uint8))
    return out


@pytest.fixture(scope="module")
def model() -> CoMet:
    return CoMet(profile="smoke", epochs=40, image_size=96).fit(draw(20, 2))


def test_the_dirt_comes_first(model: CoMet) -> None:
    assert model.scores_.shape == model.weights_.shape == (20,)
    assert ((model.weights_ > 0) & (model.weights_ <= 1)).all()
    ranking = model.ranking()
    assert set(ranking["id"][:2]) == {"18", "19"}
    assert ranking["flagged"][:2].all()
    assert (ranking["score"].diff()[1:] <= 0).all()
    assert len(model.history_) == 40


def test_copies_keep_their_order() -> None:
    images = [image for image in draw(3, 0, size=64) for _ in range(12)]
    ranking = CoMet(profile="smoke", epochs=1, image_size=64).fit(images).ranking()
    for _, copies in ranking.groupby("score"):
        places = copies["id"].astype(int).tolist()
        assert len(places) >= 12 and places == sorted(places)


def test_scores_flags_and_maps_of_new_images(model: CoMet) -> None:
    new = draw(6, 2)
    scores = model.score(new)
    assert scores[4:].min() > scores[:4].max()
    assert model.predict(new).tolist() == (scores > model.threshold_).tolist()
    maps = model.anomaly_map(new)
    assert maps.shape == (6, 96, 96)
    assert maps[5].max() > maps[0].max()
    row, column = np.unravel_index(maps[5].argmax(), (96, 96))
    assert new[5][row, column, 0] > 200  # the map peaks on the disc
    assert model.anomaly_map(new[:1], size=40).shape == (1, 40, 40)


def test_a_saved_model_scores_the_same(model: CoMet, tmp_path: Path) -> None:
    new = draw(4, 1)
    folder = model.save(tmp_path / "a model")
    assert sorted(path.name for path in folder.iterdir()) == ["model.json", "model.safetensors"]
    again = CoMet.load(folder)
    assert np.array_equal(again.score(new), model.score(new))
    assert np.array_equal(again.anomaly_map(new), model.anomaly_map(new))
    assert again.ranking().equals(model.ranking())
    assert again.settings == model.settings
    model.save(folder)  # replaces it
    assert [path.name for path in tmp_path.iterdir()] == ["a model"]


def test_a_saved_differnet_scores_the_same(tmp_path: Path) -> None:
    images = draw(10, 1)
    model = CoMet("differnet", "soft", profile="smoke", image_size=64).fit(images)
    again = CoMet.load(model.save(tmp_path / "m"))
    assert np.array_equal(again.score(images), model.score(images))
    assert np.allclose(model.score(images), model.scores_, rtol=1e-4)
    with pytest.raises(InputError, match="no anomaly map"):
        model.anomaly_map(images)


def test_members_are_trained_from_their_own_seeds_and_averaged(tmp_path: Path) -> None:
    images, new = draw(8, 1), draw(3, 1)

    def fitted(seed: int, members: int) -> CoMet:
        settings = {"profile": "smoke", "epochs": 3, "image_size": 64, "seed": seed}
        return CoMet(members=members, **settings).fit(images)  # type: ignore[arg-type]

    one, other, both = fitted(4, 1), fitted(5, 1), fitted(4, 2)
    assert not np.allclose(one.scores_, other.scores_)
    assert np.allclose(both.scores_, np.sqrt(one.scores_ * other.scores_))
    assert np.allclose(both.score(new), np.sqrt(one.score(new) * other.score(new)))
    expected = (one.anomaly_map(new) + other.anomaly_map(new)) / 2
    assert np.allclose(both.anomaly_map(new), expected, atol=1e-4)
    assert both.history_["seed"].tolist() == [4, 4, 4, 5, 5, 5]
    again = CoMet.load(both.save(tmp_path / "m"))
    assert again.members == 2
    assert np.array_equal(again.score(new), both.score(new))


def test_a_second_detector_has_as_much_of_a_say(tmp_path: Path) -> None:
    images = draw(12, 1, size=64)
    common = {"strategy": "comet+", "profile": "smoke", "image_size": 64, "epochs": 2, "seed": 5}
    both = CoMet(members=2, second="differnet", **common).fit(iter(images))
    first = CoMet(members=2, **common).fit(images)
    other = CoMet("differnet", **common).fit(images)
    each = [torch.from_numpy(one.scores_) for one in (first, other)]
    scales = [scale_of(one) for one in each]
    assert np.allclose(both.scores_, combined(each, scales).numpy())
    ranking = both.ranking().sort_values("id", key=lambda one: one.astype(int))
    for name, one in (("simplenet", first), ("differnet", other)):
        assert np.allclose(ranking[name], one.scores_ / one.threshold_)
    assert "simplenet" not in first.ranking()
    told = both.history_.groupby(["detector", "seed"]).size()
    assert dict(told) == {("differnet", 5): 2, ("simplenet", 5): 2, ("simplenet", 6): 2}
    new = draw(3, 1, size=64)
    each = [torch.from_numpy(one.score(new)) for one in (first, other)]
    assert np.allclose(both.score(iter(new)), combined(each, scales).numpy())
    assert np.array_equal(both.anomaly_map(new), first.anomaly_map(new))
    folder = both.save(tmp_path / "both")
    again = CoMet.load(folder)
    assert np.array_equal(again.score(new), both.score(new))
    assert again.ranking().equals(both.ranking()) and again.threshold_ == both.threshold_
    turned = CoMet(second="differnet", second_options={"rotations": 1}, **common).fit(images)
    alone = CoMet("differnet", options={"rotations": 1}, **common).fit(images)
    ranking = turned.ranking().sort_values("id", key=lambda one: one.astype(int))
    assert np.allclose(ranking["differnet"], alone.scores_ / alone.threshold_)
    (folder / "second" / "model.json").unlink()
    with pytest.raises(InputError, match="damaged; save it again"):
        CoMet.load(folder)
    with pytest.raises(InputError, match="raise members instead"):
        CoMet(second="simplenet")
    with pytest.raises(InputError, match=r"second = 'memory_bank' does not do here: .*not trained"):
        CoMet(second="memory_bank")


def test_a_fit_that_fails_leaves_the_model_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here an image comes between the readings for the two detectors."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, image in enumerate(draw(8, 1, size=64)):
        PillowImage.fromarray(image).save(folder / f"{i}.png")
    common = {"strategy": "comet+", "profile": "smoke", "image_size": 64, "epochs": 2}
    model = CoMet(second="differnet", cache=tmp_path / "cache", **common).fit(folder)
    new = draw(3, 1, size=64)
    before, threshold = model.score(new), model.threshold_
    read = CoMet._features

    def features(self: CoMet, *given: Any, **more: Any) -> Any:
        found = read(self, *given, **more)
        PillowImage.fromarray(new[0]).save(folder / "late.png")
        return found

    monkeypatch.setattr(CoMet, "_features", features)
    with pytest.raises(InputError, match="changed while they were read"):
        model.fit(folder)
    monkeypatch.undo()
    assert np.array_equal(model.score(new), before) and model.threshold_ == threshold


def test_folds_are_scored_by_models_of_the_detector_in_training() -> None:
    images = draw(9, 1, size=64)
    common = {"strategy": "soft", "weighting": "crossfit", "profile": "smoke", "image_size": 64}
    both = CoMet(second="differnet", **common).fit(images)
    alone = CoMet("differnet", **common).fit(images)
    ranking = both.ranking().sort_values("id")
    assert np.allclose(ranking["differnet"], alone.scores_ / alone.threshold_)


@pytest.mark.parametrize("members", [0, 1.5, "3"])
def test_a_number_of_members_that_is_none_is_refused(members: object) -> None:
    with pytest.raises(InputError, match="members"):
        CoMet(members=members)  # type: ignore[arg-type]


def test_a_folder_and_files_give_what_arrays_give(tmp_path: Path) -> None:
    images = draw(8, 1, size=64)
    (tmp_path / "photos" / "nested").mkdir(parents=True)
    for i, image in enumerate(images):
        place = "nested/" if i % 2 else ""
        PillowImage.fromarray(image).save(tmp_path / "photos" / f"{place}{i}.png")
    files = sorted((tmp_path / "photos").rglob("*.png"))
    (tmp_path / "photos" / "broken.png").write_bytes(b"no")

    def make() -> CoMet:
        return CoMet(profile="smoke", epochs=2, image_size=64, cache=tmp_path / "cache")

    with pytest.warns(UserWarning, match="left out"):
        of_folder = make().fit(tmp_path / "photos")
    assert sorted(of_folder.ids_)[0] == "0.png"
    assert "nested/1.png" in of_folder.ids_
    assert [skip.path.name for skip in of_folder.skipped_] == ["broken.png"]
    of_files = make().fit(files)
    assert of_files.ids_ == [str(path) for path in files]
    arrays = [np.asarray(PillowImage.open(file)) for file in files]
    assert np.allclose(of_files.score(files), of_files.score(arrays), rtol=1e-2)


@pytest.mark.filterwarnings("ignore:.*left out")
def test_no_answer_belongs_to_another_image(
    model: CoMet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMET_CACHE", str(tmp_path / "cache"))
    photos = tmp_path / "photos"
    photos.mkdir()
    images = draw(3, 1)
    for name, image in zip(("b.png", "c.png", "B.png"), images, strict=True):
        PillowImage.fromarray(image).save(photos / name)
    (photos / "notes.txt").touch()
    with pytest.warns(UserWarning, match=r"notes\.txt"):
        scores = model.score(photos)
    np.testing.assert_allclose(scores, model.score([images[2], *images[:2]]), rtol=1e-2)

    files = [photos / "b.png", photos / "a.png", photos / "c.png"]
    for act in (model.score, model.predict, model.anomaly_map):
        with pytest.raises(InputError, match=r"a\.png"):
            act(files)
    (photos / "a.png").write_bytes(b"no image")
    for act in (model.score, model.predict, model.anomaly_map):
        for given in (files, photos):
            with pytest.raises(InputError, match=r"a\.png.* is not an image that can be read"):
                act(given)
    (photos / "a.png").unlink()
    (photos / "a.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(InputError, match=r"a\.png' cannot be scored \(broken link\)"):
        model.score(photos)


def test_files_may_come_one_by_one_and_from_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for i, image in enumerate(draw(6, 1, size=64)):
        PillowImage.fromarray(image).save(tmp_path / f"{i}.png")
    files = [f"~/{i}.png" for i in range(6)]
    model = CoMet("simplenet", "comet+", profile="smoke", epochs=2, image_size=64, cache=tmp_path)
    model.fit(one for one in files)
    assert model.ids_ == files
    scores = model.score(iter(files))
    np.testing.assert_allclose(scores, model.score([tmp_path / f"{i}.png" for i in range(6)]))
    assert model.anomaly_map(iter(draw(2, 0, size=64))).shape == (2, 64, 64)
    assert model.save("~/a/model") == tmp_path / "a" / "model"
    assert np.array_equal(CoMet.load("~/a/model").scores_, model.scores_)


def test_what_is_no_image_is_told(model: CoMet, tmp_path: Path) -> None:
    for wrong, told in (
        (None, "is of type NoneType; give a path"),
        (3, "is of type int"),
        ([draw(1, 0)[0], None], "image 1 is of type NoneType"),
        ([PillowImage.new("RGB", (8, 8))], "image 0 is of type Image; give its path"),
        (iter(()), "list of images is empty"),
    ):
        for act in (CoMet().fit, model.score, model.anomaly_map):
            with pytest.raises(InputError, match=told):
                act(wrong)  # type: ignore[arg-type]
    (tmp_path / "a.png").touch()
    with pytest.raises(InputError, match=r"a\.png' is a file; give it in a list, or the folder"):
        model.score(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"'b\.png' is in the list of images 2 times"):
        CoMet().fit(["a.png", "b.png", "./b.png"])
    with pytest.raises(InputError, match=r"setting 'seed' = 9223372036854775808: .*less than"):
        CoMet(seed=2**63)
    for size in (0, -3, 2.5):
        with pytest.raises(InputError, match=f"size = {size}: give the edge"):
            model.anomaly_map(draw(1, 0), size=size)  # type: ignore[arg-type]


def test_a_model_is_written_as_the_umask_says_or_not_at_all(model: CoMet, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        folder = model.save(tmp_path / "m")
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o640}
    assert folder.stat().st_mode & 0o777 == 0o750
    (tmp_path / "file").touch()
    for place in (Path("/proc/model"), tmp_path / "file" / "model"):
        with pytest.raises(InputError, match=f"model cannot be written to '{place}'"):
            model.save(place)


def test_fitting_again_starts_from_nothing() -> None:
    images = draw(6, 0, size=64)
    model = CoMet(profile="smoke", epochs=2, image_size=64)
    first = model.fit(images).scores_
    assert np.array_equal(model.fit(images).scores_, first)


def test_mistakes_end_in_one_sentence(model: CoMet, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown setting 'kapa'"):
        CoMet(kapa=2)
    with pytest.raises(InputError, match="unknown setting 'contamination'"):
        CoMet(contamination=0.1)  # of data sets, which are made dirty for a trial
    with pytest.raises(InputError, match="call fit"):
        CoMet().score(draw(1, 0))
    with pytest.raises(InputError, match="list of images is empty"):
        CoMet().fit([])
    with pytest.raises(InputError, match="image 0 must be a uint8 array"):
        CoMet().fit([np.zeros((8, 8))])
    with pytest.raises(InputError, match="all files or all arrays"):
        CoMet().fit([np.zeros((8, 8, 3), np.uint8), "a.png"])
    with pytest.raises(InputError, match="nowhere"):
        CoMet().fit(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no model in"):
        CoMet.load(tmp_path)
    (tmp_path / "model.json").write_text("[]")
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match="holds no model of format"):
        CoMet.load(tmp_path)
    (tmp_path / "mine").mkdir()
    with pytest.raises(InputError, match="holds no model"):
        model.save(tmp_path / "mine")
    (tmp_path / "mine" / "model.json").write_text('{"foreign": 1}')
    with pytest.raises(InputError, match="holds no model"):
        model.save(tmp_path / "mine")
    mixed = model.save(tmp_path / "mixed")
    (mixed / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="holds no model"):
        model.save(mixed)
    assert (mixed / "notes.txt").read_text() == "mine"
    with pytest.raises(InputError, match="batch_size must be 2 or more, got 1"):
        CoMet(strategy="comet", batch_size=1, profile="smoke", image_size=64).fit(draw(4, 1))
    with pytest.raises(InputError, match=r"'neighbourhood'.*give an odd number"):
        CoMet(options={"neighbourhood": 4})


@pytest.mark.parametrize("file", ["model.json", "model.safetensors"])
def test_a_damaged_model_is_refused(model: CoMet, tmp_path: Path, file: str) -> None:
    folder = model.save(tmp_path / "m")
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="damaged"):
        CoMet.load(folder)
