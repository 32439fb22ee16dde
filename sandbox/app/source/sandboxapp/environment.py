"""Read settings from environment variables; what is missing stops the process with a sentence."""

from collections.abc import Mapping

from django.core.exceptions import ImproperlyConfigured

_BOOLEANS = {"true": True, "false": False}


class Environment:
    """Typed access to environment variables."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables

    def text(self, name: str) -> str:
        """Return a mandatory variable; an empty one counts as missing."""
        value = self._variables.get(name, "").strip()
        if not value:
            raise ImproperlyConfigured(
                f"The environment variable {name} is missing; set it in the application's environment."
            )
        return value

    def boolean(self, name: str, default: bool) -> bool:
        """Return a variable that is `true` or `false`."""
        value = self._variables.get(name, "").strip().lower()
        if not value:
            return default
        if value not in _BOOLEANS:
            raise ImproperlyConfigured(f"The environment variable {name} is {value!r}; it must be true or false.")
        return _BOOLEANS[value]

    def words(self, name: str, default: str = "") -> list[str]:
        """Return a comma separated variable as a list, without empty words."""
        value = self._variables.get(name, default)
        return [word.strip() for word in value.split(",") if word.strip()]

    def mandatory_words(self, name: str) -> list[str]:
        """Return a comma separated variable that must name something."""
        return [word.strip() for word in self.text(name).split(",") if word.strip()]
