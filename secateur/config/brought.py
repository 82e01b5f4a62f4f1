"""Sections of params.yaml that registered objects bring: ``prune.criteria.<name>``, ``prune.regularizers.<name>``."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, cast

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, SerializationInfo, TypeAdapter, create_model
from pydantic_core import CoreSchema, core_schema

from secateur.config.base import Section
from secateur.errors import ConfigError
from secateur.extensions import Registry


@dataclass(frozen=True)
class BroughtSections:
    """The type of a section that holds one for every object of a registry: which those are depends on what there is.

    Attributes:
        registry: of objects that have ``settings``, a type of section.
        own: the names of ours, whose sections are always there.
        place: the name of the whole, below ``prune``.
    """

    registry: Registry[Any]
    own: tuple[str, ...]
    place: str

    def of(self, values: Any) -> Section:
        """Validate what the whole holds: a section for each of ours with settings, and what is named.

        Raises:
            ValueError: something does not exist.
            ValidationError: it has no settings, or they are not what it takes.
            ConfigError: another package's object cannot be loaded.
        """
        if isinstance(values, Section):
            return values
        named = [self._known(str(name)) for name in values] if isinstance(values, Mapping) else []
        return _model(self, (*self.own, *sorted(set(named) - set(self.own)))).model_validate(values)

    def _known(self, name: str) -> str:
        try:
            return self.registry.find(name).name
        except ConfigError as error:
            raise ValueError(str(error)) from error

    def only(self, settings: Mapping[str, Section]) -> Section:
        """Return the sections with those of some objects alone, as a stage is given them."""
        given = {name: section for name, section in settings.items() if type(section).model_fields}
        return _model(self, tuple(settings)).model_validate(given)

    def with_former_names(self, sections: Section, given: Mapping[str, Any]) -> Section:
        """Return sections in which what an entry of ``prune`` said before there were sections counts.

        Args:
            sections: of the whole.
            given: former name -> value, of those that are named.

        Raises:
            ValueError: an entry is named in both places, with two values.
        """
        changed: dict[str, Section] = {}
        for name in type(sections).model_fields:
            own: Section = getattr(sections, name)
            former = _former_names(type(own))
            values = {field: given[old] for field, old in former.items() if old in given}
            if twice := [
                field for field in values if field in own.model_fields_set and values[field] != getattr(own, field)
            ]:
                raise ValueError(
                    f"{former[twice[0]]} is the former name of {self.place}.{name}.{twice[0]}, found both; "
                    "leave the former name out"
                )
            if values:
                changed[name] = type(own).model_validate({**own.model_dump(exclude_unset=True), **values})
        return sections.model_copy(update=changed) if changed else sections

    def validated(self, former_name: str, value: Any) -> Any:
        """Return the value of an entry that is named as before, as those take it that have it.

        Raises:
            ValidationError: none of them would.
        """
        name, field = next(place for place, old in self._former() if old == former_name)
        now = self.registry[name].settings.model_fields[field]
        checked: TypeAdapter[Any] = TypeAdapter(cast(Any, Annotated[now.annotation, now]))
        return checked.validate_python(value)

    def names_now(self, name: str) -> tuple[str, ...]:
        """Return the names below ``prune`` of what may be given by a former one; none for any other name."""
        return tuple(f"{self.place}.{brought}.{field}" for (brought, field), old in self._former() if old == name)

    def _former(self) -> Iterator[tuple[tuple[str, str], str]]:
        """Yield object and field, and the former name, of every setting that had one."""
        for name in self.own:
            for field, old in _former_names(self.registry[name].settings).items():
                yield (name, field), old

    def __get_pydantic_core_schema__(self, _: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Validate each section by the model that its object brings."""
        written = core_schema.plain_serializer_function_ser_schema(_dumped, info_arg=True)
        return core_schema.no_info_plain_validator_function(self.of, serialization=written)

    def __get_pydantic_json_schema__(self, _: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Describe the sections of all that can be loaded."""
        return handler(_model(self, tuple(filter(self._loads, self.registry))).__pydantic_core_schema__)

    def _loads(self, name: str) -> bool:
        try:
            return bool(self.registry[name])
        except ConfigError:
            return False  # whoever asks for it is told why


def _former_names(settings: type[Section]) -> Mapping[str, str]:
    """Return field -> the name that it had below ``prune`` in 0.3, of those that had one."""
    extras = {name: field.json_schema_extra for name, field in settings.model_fields.items()}
    return {
        name: str(extra["formerly"])
        for name, extra in extras.items()
        if isinstance(extra, dict) and "formerly" in extra
    }


def _dumped(sections: Section, info: SerializationInfo) -> dict[str, Any]:
    return sections.model_dump(mode=info.mode, exclude_unset=info.exclude_unset)


@cache
def _model(brought: BroughtSections, names: tuple[str, ...]) -> type[Section]:
    settings = {name: brought.registry[name].settings for name in names}
    fields: dict[str, Any] = {name: (kind, kind()) for name, kind in settings.items() if kind.model_fields}
    return create_model(f"{brought.place.capitalize()}Sections", __base__=Section, __module__=__name__, **fields)
