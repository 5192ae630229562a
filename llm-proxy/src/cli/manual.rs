//! The prose of `--help`.

pub(super) const ABOUT: &str = "\
Answers ordinary LLM API calls through the provider's Batch API, at half the price.

Point any OpenAI SDK at llm-proxy and change nothing else: its calls wait while llm-proxy groups them into batches, \
submits them and waits for the results. Each caller gets the provider's own answer, byte for byte. What cannot be \
batched is relayed as it is.

Keys, prompts and answers live in memory only: nothing is written to disk.";

pub(super) const AFTER_HELP: &str = "\
Without a command, llm-proxy serves: the flags above are those of `llm-proxy serve`. \
More with --help, and with --help behind a command.";

pub(super) const AFTER_LONG_HELP: &str = "\
EXAMPLES
  See it work, without a key and without a network:
      llm-proxy demo

  Serve on http://127.0.0.1:3030 and call OpenAI through it:
      llm-proxy
      OPENAI_BASE_URL=http://127.0.0.1:3030/v1 python my_program.py

  Run a program through a proxy of its own:
      llm-proxy run -- python my_program.py

  Fewer, larger batches, for programs that are in no hurry:
      llm-proxy --window 1m --idle 10s --max-requests 50000

  Split over machines, any number of each role:
      export LLM_PROXY_CLUSTER_SECRET=$(openssl rand -hex 32)   # the same everywhere
      export LLM_PROXY_NATS=tls://USER:PASSWORD@nats.internal:4222   # one user for each role: deploy/nats.conf
      llm-proxy ingress --listen 0.0.0.0:3030
      llm-proxy batcher
      llm-proxy submitter

  Is everything in place?
      llm-proxy check --nats nats://127.0.0.1:4222

ENVIRONMENT
  Every flag has a variable: LLM_PROXY_ and the flag's name in capitals with _ for -, as the help of each flag says. \
A flag goes before its variable. A command ignores the variables of flags that it does not have. Besides these:

  LLM_PROXY_CLUSTER_SECRET  What all ingresses and submitters on one NATS share: any string of at least 32 bytes. \
There is no flag for it, because other users of a machine can read the flags of a process.
  LLM_PROXY_TOKENS          Access tokens for --require-token, one a line. No flag for the same reason.
  OPENAI_API_KEY and alike  Used by `llm-proxy check` only; llm-proxy itself uses the keys of its callers.
  HTTPS_PROXY, NO_PROXY     How to reach the providers where there is no direct way.
  NO_COLOR                  No colours in logs.

SIGNALS
  SIGTERM or Ctrl-C: takes no new calls, and finishes or cancels what is under way within --drain-timeout. A second \
one ends the process at once.

EXIT CODES
  0  ended as asked
  1  failed, for example because a port is taken
  2  a flag, a variable or a file cannot be used; the message says which and why
  130, 143  ended by a second Ctrl-C or SIGTERM
  `llm-proxy run` ends with the code of its program.";

pub(super) const SERVE: &str = "\
All services in one process: takes calls on --listen, groups them, takes the batches through the providers and \
answers.

The services talk to each other inside the process. With --nats they talk over NATS instead, together with other \
processes there; then the cluster secret is needed. Its one connection does what three roles do, and so its user needs \
the permissions of all three.

Examples:
  llm-proxy serve
  llm-proxy serve --listen 0.0.0.0:8080 --window 30s
  LLM_PROXY_CLUSTER_SECRET=... llm-proxy serve --nats nats://127.0.0.1:4222";

pub(super) const INGRESS: &str = "\
HTTP in: takes calls, holds them while they wait, and answers them; relays what cannot be batched.

Any number of ingresses can stand behind a load balancer. Needs NATS and the cluster secret.

Example:
  export LLM_PROXY_CLUSTER_SECRET=... LLM_PROXY_NATS=tls://ingress:PASSWORD@nats.internal:4222
  llm-proxy ingress --listen 0.0.0.0:3030";

pub(super) const BATCHER: &str = "\
Groups the calls that wait at the ingresses into batches, and offers the batches to the submitters.

A batcher sees ids and sizes, never a key, a prompt or an answer: it needs NATS and no cluster secret. It opens no \
port unless --admin-listen is given.

Example:
  LLM_PROXY_NATS=tls://batcher:PASSWORD@nats.internal:4222 llm-proxy batcher --window 10s";

pub(super) const SUBMITTER: &str = "\
Takes batches through the providers' Batch APIs: uploads, creates, polls, downloads, delivers every answer to its \
ingress, and deletes the files.

Needs NATS, the cluster secret and a way to the providers. It opens no port unless --admin-listen is given.

Example:
  export LLM_PROXY_CLUSTER_SECRET=... LLM_PROXY_NATS=tls://submitter:PASSWORD@nats.internal:4222
  llm-proxy submitter --poll-max 30s";

pub(super) const RUN: &str = "\
Runs a program whose LLM calls go through a proxy of its own, which ends with it. Nothing in the program has to change: \
it finds the proxy by the variables below. Takes the flags of `llm-proxy serve` before `--`, and what is behind it as it is.

Its standard streams are those of this command, and nothing else is written to standard output. While calls wait, a line \
on the terminal says how many, how many of them are in batches, how long it may take where that can be told, and what was saved; at the end standard error gets a receipt. \
Logs are warnings only unless --log is given.

VARIABLES
  OpenAI        OPENAI_BASE_URL, OPENAI_API_BASE
  Anthropic     ANTHROPIC_BASE_URL, ANTHROPIC_API_BASE, ANTHROPIC_API_URL
  Gemini        GOOGLE_GEMINI_BASE_URL, GEMINI_API_BASE
  Groq          GROQ_BASE_URL, GROQ_API_BASE
  Mistral       MISTRAL_BASE_URL, MISTRAL_API_BASE, MISTRAL_AZURE_API_BASE (its own SDK reads none)
  Together      TOGETHER_BASE_URL, TOGETHER_API_BASE, TOGETHER_AI_API_BASE
  xAI           XAI_API_BASE
  OpenRouter    OPENROUTER_BASE_URL, OPENROUTER_API_BASE
  Azure OpenAI  AZURE_OPENAI_ENDPOINT, AZURE_API_BASE, if --config has it
  all           LLM_PROXY_URL, the proxy's address, for programs that are told it in code
  NO_PROXY and no_proxy get the proxy's host, so that HTTPS_PROXY does not catch the calls.

  One that is set already says where the calls go from here: with OPENAI_BASE_URL=https://eu.api.openai.com/v1 they \
go there. --openai-url, --anthropic-url, --gemini-url and --config go before.

SIGNALS AND EXIT CODE
  SIGINT, SIGTERM, SIGHUP and SIGQUIT are passed on to the program. When it has ended, jobs that nobody waits for are \
cancelled or left (--on-exit), which takes --drain-timeout at most; a second Ctrl-C ends that at once.

  The exit code is the program's; 128 and the signal's number if a signal ended it; 127 if there is no such program; 126 if \
it cannot be executed. 1 and 2 may also mean that the proxy did not start; a message says so.

Examples:
  llm-proxy run -- python script.py
  llm-proxy run --window 30s --on-exit leave -- npm start";

pub(super) const DEMO: &str = "\
Starts a simulated provider and the proxy on this machine, sends a burst of sample calls through it as any program \
would, and shows the answers and the bill. No key and no network are needed, and nothing is paid.

The proxy is left running until Ctrl-C, to be tried with curl or an SDK; --once ends after the receipt.

Examples:
  llm-proxy demo
  llm-proxy demo --requests 1000 --once";

pub(super) const SIMULATOR: &str = "\
A simulated provider: files, batches and synchronous calls of the OpenAI API, with the rules of the real one, and a \
ledger of what was billed. http://HOST:PORT/_sim/state shows its state.

Example:
  llm-proxy simulator --listen 127.0.0.1:4010 --batch-time 5s
  llm-proxy serve --openai-url http://127.0.0.1:4010/v1";

pub(super) const CHECK: &str = "\
Checks without changing anything: is the configuration valid, is NATS reachable and which roles are there, is each \
upstream reachable, and may its key use the Batch API. A key is looked for in the variable in which the provider's own \
SDKs look, such as OPENAI_API_KEY, ANTHROPIC_API_KEY or GEMINI_API_KEY; the list of batches is read with it, which costs \
nothing. The checks say for each upstream which variable it is.

Takes the flags and variables of `llm-proxy serve`. Prints a line for each check, and ends with 0 if all are ok, \
else with 1. An upstream without a key is skipped; it has to be reachable only if its address was given.

Examples:
  llm-proxy check
  OPENAI_API_KEY=... ANTHROPIC_API_KEY=... llm-proxy check
  LLM_PROXY_CLUSTER_SECRET=... LLM_PROXY_NATS=tls://ingress:PASSWORD@nats.internal:4222 llm-proxy check";
