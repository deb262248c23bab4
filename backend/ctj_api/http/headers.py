"""Headers that Django doesn't know by itself."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase

# Nothing here needs any of what browsers can give away.
FEATURES = (
    "accelerometer", "autoplay", "camera", "display-capture", "encrypted-media", "fullscreen", "geolocation",
    "gyroscope", "magnetometer", "microphone", "midi", "payment", "publickey-credentials-get", "screen-wake-lock",
    "usb", "xr-spatial-tracking",
)  # fmt: skip
HEADERS = {
    "Permissions-Policy": ", ".join(f"{feature}=()" for feature in FEATURES),
    "Cross-Origin-Resource-Policy": "same-origin",
    # The page of the docs would have it otherwise, for sign-ins in other windows, which there are none of.
    "Cross-Origin-Opener-Policy": "same-origin",
}


class BrowserPolicyMiddleware:
    """Keep browsers from giving pages a camera, and other sites from embedding what is served here."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Return the view's response with these headers."""
        response = self.get_response(request)
        for name, value in HEADERS.items():
            response[name] = value
        return response
