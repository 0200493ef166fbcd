# SPDX-License-Identifier: BSD-3-Clause
"""All streams that are not as they should be.

A decoder has to refuse what coolchic-5, section 15.1, calls malformed. Where that section leaves
the choice, or says that the official decoder takes it nevertheless, it may also decode it; then to
the picture that is recorded, if one is.
"""

from __future__ import annotations

from numchic_conformance.synthetic.malformed.architectures import architecture_cases
from numchic_conformance.synthetic.malformed.case import Case
from numchic_conformance.synthetic.malformed.cuts import cut_cases
from numchic_conformance.synthetic.malformed.fields import field_cases
from numchic_conformance.synthetic.malformed.legal import legal_cases
from numchic_conformance.synthetic.malformed.payloads import payload_cases
from numchic_conformance.synthetic.malformed.relations import relation_cases
from numchic_conformance.synthetic.malformed.trailer_contents import trailer_content_cases
from numchic_conformance.synthetic.malformed.trailers import trailer_cases


def malformed_cases() -> list[Case]:
    """Return all cases."""
    return [
        *cut_cases(),
        *field_cases(),
        *relation_cases(),
        *architecture_cases(),
        *payload_cases(),
        *legal_cases(),
        *trailer_cases(),
        *trailer_content_cases(),
    ]
