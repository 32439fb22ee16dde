"""What every template knows."""

from django.conf import settings
from django.http import HttpRequest

from . import __version__


def release(request: HttpRequest) -> dict[str, object]:
    """Name the release and the code's own version on every page."""
    return {"release": settings.RELEASE, "code_version": __version__}
