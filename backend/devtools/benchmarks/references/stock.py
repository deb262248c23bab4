"""The project behind Django's own ASGI handler: ``benchmarks.references.stock:application``."""

from django.core.asgi import get_asgi_application

application = get_asgi_application()
