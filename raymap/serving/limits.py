"""What an endpoint takes: sizes, rates, time."""

from __future__ import annotations

from pydantic import Field

from raymap.config import Settings


class Limits(Settings):
    """Beyond these a request is refused before any work is done for it."""

    max_body_mb: float = Field(16.0, gt=0, description="bytes of a request's body, in MB")
    max_cells: int = Field(1024 * 1024, ge=1, description="cells of a map")
    max_transmitters: int = Field(32, ge=1, description="transmitters of a request")
    max_maps: int = Field(256, ge=1, description="maps drawn for a request: transmitters x ensemble")
    max_measurements: int = Field(20_000, ge=1, description="measurements of a request")
    max_receivers: int = Field(5_000, ge=1, description="receivers whose paths are asked for")
    max_taps: int = Field(200_000, ge=1, description="taps of the impulse responses of a request")
    max_vehicles: int = Field(5_000, ge=1, description="vehicles of a request")
    max_cells_at_once: int = Field(
        8 * 1024 * 1024, ge=1, description="cells of a request over all its maps; longer calls are jobs"
    )
    max_requests: int = Field(
        64, ge=1, description="requests that an ingress has under way; more are answered 503 at once"
    )
    timeout_s: float = Field(60.0, gt=0, description="a request that takes longer is answered 504")
    requests_per_minute: int | None = Field(None, ge=1, description="of one client; none: as many as it likes")
    max_jobs: int = Field(64, ge=1, description="jobs that are kept: waiting, running and done")
