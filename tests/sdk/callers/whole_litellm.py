"""LiteLLM with what it would import at its first calls: from several threads at once it does not do that well."""

import litellm
import litellm.litellm_core_utils.default_encoding  # noqa: F401
