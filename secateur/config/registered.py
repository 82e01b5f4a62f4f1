"""A parameter whose value is the name of something that can be registered: ours, or another package's."""

from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from secateur.errors import ConfigError
from secateur.extensions import Registry


@dataclass(frozen=True)
class Registered:
    """Accepts the names of a registry: ``Annotated[str, Registered(CRITERIA)]``. Nothing is imported for that.

    Attributes:
        registry: of the objects.
        besides: names that are accepted too, and stand for none of them.
    """

    registry: Registry[Any]
    besides: tuple[str, ...] = ()

    def __get_pydantic_core_schema__(self, _: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Validate a name."""
        return core_schema.no_info_after_validator_function(self._known, core_schema.str_schema())

    def __get_pydantic_json_schema__(self, _: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """List the names there are now."""
        return {"type": "string", "enum": [*self.besides, *self.registry.names]}

    def _known(self, name: str) -> str:
        if name in self.besides:
            return name
        try:
            return self.registry.find(name).name
        except ConfigError as error:
            raise ValueError(", ".join([str(error), *self.besides])) from error
