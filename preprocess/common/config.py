"""One strict schema for all of `config.yaml`: every command checks the whole file before it does anything."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import ByteSize, Field, PlainValidator, ValidationError, field_validator, model_validator

from preprocess.common.errors import ConfigError
from preprocess.common.learning import Train
from preprocess.common.overrides import explain, parsed, put, recipe_in
from preprocess.common.places import Place, local, place
from preprocess.common.section import Section
from preprocess.common.strict_yaml import read_yaml

Location = Annotated[Place, PlainValidator(place)]
Folder = Annotated[Path, PlainValidator(local)]
Share = Annotated[float, Field(gt=0, lt=0.5)]


class Source(Section):
    """Where pictures and labels come from."""

    kind: Literal["gallery", "csv", "folders", "idx", "figures"] = "gallery"
    path: Location = Path("data/gallery")
    table: Location | None = Field(None, description="csv only; by default train_info.csv in `path` or beside it")
    unmatched: Literal["error", "quarantine"] = Field("error", description="rows without file, files without row")


class Gallery(Section):
    """The generated paintings that stand in for a collection."""

    pictures: int = Field(1600, ge=20)
    artists: int = Field(80, ge=4)
    seed: int = Field(0, ge=0)


class Figures(Section):
    """The classes that are invented from the training pictures of an idx collection."""

    classes: int = Field(12_000, ge=4, le=99_999)
    drawings: int = Field(4, ge=2, le=99, description="of each")
    seed: int = Field(0, ge=0)


class Preprocess(Section):
    """How one picture becomes squares in the store."""

    sizes: list[Annotated[int, Field(ge=8, le=2048)]] = Field([64, 128, 256], min_length=1)
    square: Literal["crop", "pad", "stretch"] = "crop"
    rows_per_shard: int = Field(256, ge=1, le=65536)
    max_megapixels: float = Field(400.0, gt=0, description="larger pictures are quarantined")
    workers: int = Field(0, ge=0, description="processes; 0 means one per core")
    memory_per_worker: ByteSize = Field(
        ByteSize(10**9), ge=200_000_000, description="most a worker and its decoder may take"
    )

    @property
    def content(self) -> dict[str, Any]:
        """The settings that a store's bytes depend on."""
        return self.model_dump(exclude={"workers", "memory_per_worker"})

    @field_validator("sizes")
    @classmethod
    def sizes_differ(cls, sizes: list[int]) -> list[int]:
        """Refuse a size given twice."""
        if len(set(sizes)) != len(sizes):
            raise ValueError("should name each size once")
        return sizes


class Validation(Section):
    """What a collection must pass before anything is made of it."""

    allow: list[str] = Field([], description="kinds of errors that do not stop the next stage")
    schema_file: Folder | None = Field(None, description="by default preprocess/tfdv/schema.pbtxt")


class Split(Section):
    """Which paintings and which artists are kept from training."""

    seed: int = Field(0, ge=0)
    validation_artists: Share = Field(0.15, description="share of artists kept for validation only")
    test_artists: Share = Field(0.2, description="share of artists kept for the test only")
    folds: int | None = Field(None, ge=2, description="instead of test_artists: into so many parts, one for the test")
    fold: int = Field(0, ge=0, description="which part, from 0")
    validation_paintings: Share = Field(0.1, description="share of each other artist's paintings")
    test_paintings: Share = Field(0.1, description="share of each other artist's paintings")
    near_duplicate_bits: int = Field(4, ge=0, le=16, description="largest distance of 64-bit perceptual hashes")


class Pipeline(Section):
    """How batches are drawn and fed."""

    stream: Literal["groups", "pairs"] = "groups"
    artists: Literal["uniform", "root", "proportional"] = Field("uniform", description="how likely an artist is drawn")
    paintings_per_artist: int = Field(4, ge=2, description="groups only: pictures of one artist in a batch")
    hard_share: float = Field(0.0, ge=0, le=1, description="pairs: of the different pairs; groups: of the artists")
    prefetch: int = Field(4, ge=1)
    verify: Literal["first", "always"] = Field("first", description="reads compared with the checksum")
    feed: Literal["auto", "stream", "memory", "device"] = Field("auto", description="where training pictures lie")
    memory: ByteSize = Field(ByteSize(4 * 10**9), ge=1_000_000, description="most that pictures in memory may take")
    evaluation_pairs: int = Field(20_000, ge=2, description="most pairs scored per side, half of them same-artist")


class Evaluate(Section):
    """How the verdict is measured."""

    bootstrap: int = Field(200, ge=20, description="resamples behind every confidence interval")
    confidence: float = Field(0.95, gt=0.5, lt=1)
    calibration: Literal["platt", "isotonic"] = "platt"
    crowding: float = Field(0.0, ge=0, le=4, description="how much less alike pictures count that many others are like")


class Config(Section):
    """All of `config.yaml`. Relative paths start at the folder of the file; URLs of object stores stay as they are."""

    recipe: str | None = Field(None, description="one of `recipes`, whose settings take the place of the others")
    recipes: dict[str, dict[str, Any]] = Field({}, description="by name: dotted keys and values")
    source: Source = Source()
    stores: Location = Path("stores")
    runs: Folder = Path("runs")
    gallery: Gallery = Gallery()
    figures: Figures = Figures()
    preprocess: Preprocess = Preprocess()
    validation: Validation = Validation()
    split: Split = Split()
    pipeline: Pipeline = Pipeline()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()

    @model_validator(mode="after")
    def sections_agree(self) -> Self:
        """Refuse settings that are possible one by one but not together."""
        stages = self.train.stages or []
        for name, size in [("size", self.train.size), *((f"stages.{n}.size", s.size) for n, s in enumerate(stages))]:
            if max(self.preprocess.sizes) < size:
                raise ValueError(
                    f"train.{name} must not exceed the largest of preprocess.sizes {self.preprocess.sizes}, got {size}"
                )
        if self.train.model in ("plain", "parts") and (stages or min(self.train.view, self.train.corners) < 1):
            raise ValueError(
                f"train.model {self.train.model} takes one size only; leave out train.stages, train.view, train.corners"
            )
        if self.split.validation_artists + self.split.test_artists > 0.8:
            raise ValueError(
                "split.validation_artists + split.test_artists must leave a fifth of the artists to train on, "
                f"got {self.split.validation_artists} + {self.split.test_artists}"
            )
        if self.split.folds and self.split.fold >= self.split.folds:
            raise ValueError(f"split.fold must be less than split.folds = {self.split.folds}, got {self.split.fold}")
        if self.evaluate.crowding and self.train.loss == "contrastive":
            raise ValueError("evaluate.crowding needs train.loss sigmoid: distances of shorter embeddings mean nothing")
        named = [(f"stages.{n}.batch", stage.batch) for n, stage in enumerate(stages) if stage.batch]
        for name, batch in [("batch", self.train.batch), *named]:
            self.check_batch(name, batch)
        return self

    def check_batch(self, name: str, batch: int) -> None:
        """Refuse train.`name`, a number of pictures that the stream makes no batch of."""
        if self.pipeline.stream == "pairs" and batch % 4:
            raise ValueError(
                f"train.{name} must be a multiple of 4 with pipeline.stream pairs, half of whose pairs are "
                f"same-artist, got {batch}"
            )
        if self.pipeline.stream == "groups" and 2 * self.pipeline.paintings_per_artist > batch:
            raise ValueError(
                f"pipeline.paintings_per_artist must be at most half of train.{name}, or a batch may have one artist, "
                f"got {self.pipeline.paintings_per_artist} and {batch}"
            )

    @property
    def collection(self) -> str:
        """The name under which this source's manifest, stores and runs are kept: the last part of its path, and with
        source.kind figures "-figures"."""
        path = self.source.path
        # "..", taken as a name, would leave `stores`; a bucket by itself has no name
        name = Path(os.path.normpath(path) if isinstance(path, Path) else path.path).name
        return f"{name}-figures" if self.source.kind == "figures" else name

    @property
    def store_folder(self) -> Place:
        """The folder of this collection's manifest and sealed stores."""
        return self.stores / self.collection


def load_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read `path`, apply `overrides` such as "train.batch=256", and check everything.

    The settings of the recipe chosen in the file or by an override take the place of those in the file; other
    overrides come after. Raises ConfigError naming the file or the dotted key, and the remedy.
    """
    values = read_yaml(path)
    given = [parsed(override) for override in overrides]
    for keys, value in given:
        if keys == ["recipe"]:
            values["recipe"] = value
    for keys, value in [*recipe_in(values), *given]:
        put(values, keys, value)
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError("; ".join(explain(dict(problem), Config) for problem in error.errors())) from None
    return relative_to(config, path.resolve().parent)


def relative_to(config: Config, folder: Path) -> Config:
    """Return `config` with its local paths made absolute, starting at `folder`."""

    def absolute(path: Place) -> Place:
        return folder / path if isinstance(path, Path) else path

    table = config.source.table and absolute(config.source.table)
    source = config.source.model_copy(update={"path": absolute(config.source.path), "table": table})
    schema = config.validation.schema_file and folder / config.validation.schema_file
    validation = config.validation.model_copy(update={"schema_file": schema})
    paths = {"source": source, "stores": absolute(config.stores), "runs": absolute(config.runs)}
    return config.model_copy(update=paths | {"validation": validation})
