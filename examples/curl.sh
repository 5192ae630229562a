#!/bin/sh
# One chat completion with curl. The argument is the prompt, without quotes or backslashes, for it goes into the JSON as it is.
set -eu

prompt=${1:-What is the capital of France?}

curl --silent --show-error --fail-with-body \
    "${OPENAI_BASE_URL:-http://127.0.0.1:3030/v1}/chat/completions" \
    --header "Authorization: Bearer $OPENAI_API_KEY" \
    --header 'Content-Type: application/json' \
    --data "{\"model\": \"gpt-4o-mini\", \"messages\": [{\"role\": \"user\", \"content\": \"$prompt\"}]}"
echo
