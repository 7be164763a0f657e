"""Counters and histograms of the gateway's decisions."""

from app.core.decisions import ValidateReply
from app.telemetry.metrics import Metrics


class ValidationFigures:
    """What is counted beside the answers themselves."""

    def __init__(self, metrics: Metrics) -> None:
        self.joined = metrics.counter("weir_single_flight_joined_total", "Calls that joined one under way.")
        self.replies_refused = metrics.counter(
            "weir_replies_refused_total", "Replies that were malformed, late beyond use or unknown."
        )
        self.send_failures = metrics.counter("weir_send_failures_total", "Tasks that the broker did not take.")
        self.batches_lost = metrics.counter("weir_batches_lost_total", "Batches without a reply for a second.")
        self.policy_failures = metrics.counter(
            "weir_policy_failures_total", "Calls on which the gateway's own policy failed."
        )
        self.unjudged = metrics.counter(
            "weir_degraded_unjudged_total", "Calls blocked because nobody could judge them in time."
        )
        self.rechecked = metrics.counter(
            "weir_degraded_rechecked_total", "Degraded answers that a worker has judged since."
        )
        self.differences = metrics.counter(
            "weir_degraded_differences_total", "Degraded answers that a worker judged otherwise."
        )
        self.rechecks_dropped = metrics.counter(
            "weir_degraded_unchecked_total", "Degraded answers that no worker will see."
        )
        self.batch_size = metrics.histogram("weir_batch_questions", "Questions in a batch.")
        self.round_trip_us = metrics.histogram("weir_batch_round_trip_us", "A batch from its cut to its reply.")
        self.worker_us = metrics.histogram(
            "weir_batch_worker_us", "A batch inside its worker, as the worker measured it."
        )
        layer_us = "A batch in a layer of its worker, where it was asked."
        self.shared_us = metrics.histogram("weir_layer_us", layer_us, layer="shared-cache")
        self.policy_us = metrics.histogram("weir_layer_us", layer_us, layer="policy")
        self.shared_hits = metrics.counter("weir_shared_cache_hits_total", "Calls that the shared cache answered.")
        self.forged = metrics.counter("weir_shared_cache_forged_total", "Entries without a genuine MAC, ignored.")
        self.stale = metrics.counter("weir_shared_cache_stale_total", "Entries out of time or policy, ignored.")

    def of_worker(self, reply: ValidateReply) -> None:
        """Take over what a worker measured and counted."""
        self.worker_us.record(reply.worker_us)
        if reply.shared_us:
            self.shared_us.record(reply.shared_us)
            self.shared_hits.add(reply.layers.count("shared-cache"))
        if "policy" in reply.layers:
            self.policy_us.record(reply.worker_us - reply.shared_us)
        self.forged.add(reply.forged)
        self.stale.add(reply.stale)
