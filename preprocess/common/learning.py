"""The section `train` of the configuration: the model, its training, and the stages that this comes in."""

from contextlib import suppress
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import ByteSize, Field, PlainValidator, TypeAdapter, ValidationError, field_validator

from preprocess.common.section import Section


def budget(value: Any) -> Any:
    """Return "auto", a share as float, or bytes as int, of what a setting says. Raises ValueError."""
    if value == "auto" or (isinstance(value, float) and 0 < value <= 1):
        return value
    if isinstance(value, str | int) and not isinstance(value, bool):
        with suppress(ValidationError):
            if (count := TypeAdapter(ByteSize).validate_python(value)) >= 10**6:
                return int(count)
    raise ValueError("should be auto, a share such as 0.92, or at least 1MB, such as 8GB")


def number(value: Any) -> Any:
    """Return "auto" or a number, at least 1. Raises ValueError."""
    if value == "auto" or (type(value) is int and value >= 1):
        return value
    raise ValueError("should be auto or a number, at least 1")


class Stage(Section):
    """A part of the training before the last, with smaller pictures."""

    until: float = Field(gt=0, lt=1, description="share of the steps at which the next stage begins")
    size: int = Field(ge=8, le=2048, description="pixels")
    batch: int | None = Field(None, ge=4, multiple_of=2, description="pictures per step; by default train.batch")


class Span(NamedTuple):
    """Steps `start` to `stop` - 1 of the training, with `batch` pictures of `size` pixels each."""

    start: int
    stop: int
    size: int
    batch: int


class Train(Section):
    """The model and its training."""

    size: int = Field(64, ge=8, le=2048, description="pixels; read from the smallest stored size at least as large")
    view: float = Field(1.0, gt=0, le=1, description="share of a picture's side that training sees at once")
    corners: float = Field(1.0, gt=0, le=1, description="share of the side of four squares that stand for a picture")
    model: str = Field("compact", description="compact, plain, parts, or the name of a class in keras.applications")
    pretrained: bool = Field(False, description="keras.applications only: start from ImageNet weights (downloaded)")
    width: int = Field(32, ge=8, multiple_of=8, description="channels of the compact network's first stage")
    embedding: int = Field(128, ge=2)
    loss: Literal["sigmoid", "contrastive"] = "sigmoid"
    stages: list[Stage] | None = Field(None, description="stages before the last, which has `size` and `batch`")
    augment: Literal["paintings", "strong", "digits", "clothes", "none"] = "paintings"
    batch: int = Field(64, ge=4, multiple_of=2, description="pictures per step")
    microbatch: Annotated[int | Literal["auto"], PlainValidator(number)] = Field(
        "auto", description="pictures embedded at once; the batch means the same, and takes less memory"
    )
    devices: Annotated[int | Literal["auto"], PlainValidator(number)] = Field(
        "auto", description="GPUs of this machine that share each batch; auto: all"
    )
    memory: Annotated[float | int | Literal["auto"], PlainValidator(budget)] = Field(
        "auto", description="most that training may take, by which `microbatch: auto` is found"
    )
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = Field(
        "float32", description="of convolutions; weights, statistics, embeddings and loss stay float32"
    )
    steps: int = Field(2000, ge=1)
    learning_rate: float = Field(2e-3, gt=0, le=1)
    weight_decay: float = Field(1e-2, ge=0, le=1)
    average: float | None = Field(None, gt=0, le=1, description="share of the steps so far over which to average")
    seed: int = Field(0, ge=0, lt=2**32)
    validate_every: int = Field(250, ge=1, description="steps; a checkpoint is written each time")
    patience: int | None = Field(None, ge=1, description="validations without a better AUC that end training")
    checkpoint_minutes: float = Field(10.0, gt=0, description="most that a crash costs")
    max_hours: float | None = Field(None, gt=0, description="then training ends with status 75, to be run again")
    notify: str | None = Field(None, min_length=1, description="a shell command, run when training finished or failed")

    @property
    def content(self) -> dict[str, Any]:
        """The settings that decide what is learned."""
        return self.model_dump(exclude={"checkpoint_minutes", "max_hours", "notify", "microbatch", "memory", "devices"})

    @field_validator("stages")
    @classmethod
    def stages_follow(cls, stages: list[Stage] | None) -> list[Stage] | None:
        """Refuse stages that do not end one after the other."""
        ends = [stage.until for stage in stages or []]
        if ends != sorted(set(ends)):
            raise ValueError("should end one after the other: each `until` larger than the one before")
        return stages

    @property
    def spans(self) -> list[Span]:
        """All stages, in order, none empty: from step 0 to the last."""
        last = Stage.model_construct(until=1.0, size=self.size, batch=self.batch)
        spans, start = [], 0
        for stage in (*(self.stages or ()), last):
            stop = round(stage.until * self.steps)
            if stop > start:
                spans.append(Span(start, stop, stage.size, stage.batch or self.batch))
            start = stop
        return spans

    def span_at(self, step: int) -> Span:
        """Return the stage that `step` belongs to; after the end, the last one."""
        return next((span for span in self.spans if step < span.stop), self.spans[-1])
