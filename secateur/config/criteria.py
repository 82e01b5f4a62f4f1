"""Which criteria there are, and the sections of params.yaml that they bring: ``prune.criteria.<name>``."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, cast

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, SerializationInfo, TypeAdapter, create_model
from pydantic_core import CoreSchema, core_schema

from secateur.config.base import Section
from secateur.errors import ConfigError
from secateur.extensions import Registry

if TYPE_CHECKING:
    from secateur.pruning.criterion import Criterion

_OWN = (
    "magnitude", "gradient", "l1", "l2", "group_lasso", "fixed_weight", "fluctuation", "fisher", "obs", "wanda",
    "sparsegpt", "random",
)  # fmt: skip

CRITERIA: "Registry[Criterion[Any]]" = Registry(
    "criterion",
    group="secateur.criteria",
    type_="secateur.pruning.criterion:Criterion",
    own={name: f"secateur.criteria.{name}:{name.upper()}" for name in _OWN},
)
"""Every criterion by the name that it has in params.yaml. Ours is the object of that name in the file of that name."""


def sections_of(values: Any) -> Section:
    """Validate what ``prune.criteria`` holds: a section for every criterion of ours with settings, and what is named.

    Raises:
        ValueError: a criterion does not exist.
        ValidationError: it has no settings, or they are not what it takes.
        ConfigError: another package's criterion cannot be loaded.
    """
    if isinstance(values, Section):
        return values
    named = [_known(str(name)) for name in values] if isinstance(values, Mapping) else []
    return _model((*_OWN, *sorted(set(named) - set(_OWN)))).model_validate(values)


def _known(name: str) -> str:
    try:
        return CRITERIA.find(name).name
    except ConfigError as error:
        raise ValueError(str(error)) from error


def only(name: str, settings: Section) -> Section:
    """Return the sections with that of one criterion alone, as a stage is given them."""
    return _model((name,)).model_validate({name: settings} if type(settings).model_fields else {})


def with_former_names(sections: Section, given: Mapping[str, Any]) -> Section:
    """Return sections in which what an entry of ``prune`` said before there were sections counts.

    Args:
        sections: of ``prune.criteria``.
        given: former name -> value, of those that are named.

    Raises:
        ValueError: an entry is named in both places, with two values.
    """
    changed: dict[str, Section] = {}
    for name in type(sections).model_fields:
        own: Section = getattr(sections, name)
        values = {field: given[old] for field, old in former_names(type(own)).items() if old in given}
        if twice := [
            field for field in values if field in own.model_fields_set and values[field] != getattr(own, field)
        ]:
            raise ValueError(
                f"{former_names(type(own))[twice[0]]} is the former name of criteria.{name}.{twice[0]}, found both; "
                "leave the former name out"
            )
        if values:
            changed[name] = type(own).model_validate({**own.model_dump(exclude_unset=True), **values})
    return sections.model_copy(update=changed) if changed else sections


def validated(former_name: str, value: Any) -> Any:
    """Return the value of an entry that is named as before, as those criteria take it that have it.

    Raises:
        ValidationError: none of them would.
    """
    name, field = next(place for place, old in _former() if old == former_name)
    now = CRITERIA[name].settings.model_fields[field]
    checked: TypeAdapter[Any] = TypeAdapter(cast(Any, Annotated[now.annotation, now]))
    return checked.validate_python(value)


def names_now(name: str) -> tuple[str, ...]:
    """Return the names below ``prune`` of what may be given by a former one; any other name is what it is."""
    return tuple(f"criteria.{criterion}.{field}" for (criterion, field), old in _former() if old == name) or (name,)


def _former() -> Iterator[tuple[tuple[str, str], str]]:
    """Yield criterion and field, and the former name, of every setting that had one."""
    for name in _OWN:
        for field, old in former_names(CRITERIA[name].settings).items():
            yield (name, field), old


def former_names(settings: type[Section]) -> Mapping[str, str]:
    """Return field -> the name that it had below ``prune`` in 0.3, of those that had one."""
    extras = {name: field.json_schema_extra for name, field in settings.model_fields.items()}
    return {
        name: str(extra["formerly"])
        for name, extra in extras.items()
        if isinstance(extra, dict) and "formerly" in extra
    }


@dataclass(frozen=True)
class BroughtSections:
    """The type of ``prune.criteria``: which sections it has depends on which criteria there are."""

    def __get_pydantic_core_schema__(self, _: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Validate each section by the model that its criterion brings."""
        written = core_schema.plain_serializer_function_ser_schema(_dumped, info_arg=True)
        return core_schema.no_info_plain_validator_function(sections_of, serialization=written)

    def __get_pydantic_json_schema__(self, _: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Describe the sections of all criteria that can be loaded."""
        return handler(_model(tuple(filter(_loads, CRITERIA))).__pydantic_core_schema__)


def _dumped(sections: Section, info: SerializationInfo) -> dict[str, Any]:
    return sections.model_dump(mode=info.mode, exclude_unset=info.exclude_unset)


def _loads(name: str) -> bool:
    try:
        return bool(CRITERIA[name])
    except ConfigError:
        return False  # whoever asks for it is told why


@cache
def _model(names: tuple[str, ...]) -> type[Section]:
    settings = {name: CRITERIA[name].settings for name in names}
    fields: dict[str, Any] = {name: (kind, kind()) for name, kind in settings.items() if kind.model_fields}
    return create_model("CriteriaSections", __base__=Section, __module__=__name__, **fields)
