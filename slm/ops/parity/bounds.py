"""How near is near enough: every bound of a certificate, and why it is where it is.

Divergences are in nats a token, along the reference's own answers.
"""

from slm.records import Record


class Bounds(Record):
    """The bounds that a verdict was made with; they are kept in the certificate.

    `same_kl`: the order of float32 sums moves a distribution by 1e-9 or less, storing matrices in float16 by 4e-6, in
    bfloat16 by 7e-5 (docs/models.md). What stays below 1e-5, and answers every question alike, is called the same.

    `equivalent_answers`: a share of answers that are the same letter by letter. 99 % leaves no room for a difference
    among 50 questions and for ties among hundreds.

    `equivalent_kl`: below it answers part only where two tokens are nearly as likely; `least_answers` of them must
    still be the same.

    `logprob_gap`: what stands in for the divergence where a server gives only the log-probabilities of its own answers:
    the mean difference of an answer's log-probability a token, over the answers that are the same. bfloat16 stays below
    0.02; another adapter that gives the same answers does not have the same certainty.

    `significance`, `accuracy_loss`: McNemar's exact test says whether the questions that only one of both answers right
    can be chance. With 50 questions it sees nothing less than six that are only lost, so the loss is bounded as well.

    `base_ratio`: a form is taken for the untuned base model when its distance from that is so small a part of its
    distance from the reference.

    `other_gap`: the same answers with log-probabilities so far off are those of another adapter.

    `end_gap`: the end of an answer is taken for untrained when its log-probability is so many nats below the
    reference's and nearer to the base model's. `cut_off`: or when so many more of the answers reach the length
    limit. `never_ends`: where as many of the run's own answers do, its end cannot be compared.
    """

    same_kl: float = 1e-5
    equivalent_answers: float = 0.99
    equivalent_kl: float = 0.01
    least_answers: float = 0.9
    logprob_gap: float = 0.02
    other_gap: float = 0.1
    significance: float = 0.05
    accuracy_loss: float = 0.05
    base_ratio: float = 0.1
    end_gap: float = 1.0
    cut_off: float = 0.3
    never_ends: float = 0.5


BOUNDS = Bounds()
