#!/bin/sh
# Prints the secrets of a deployment, fresh at every run and kept nowhere:
#
#   eval "$(scripts/secrets.sh)"                     for this shell
#   (umask 077; scripts/secrets.sh >.env)            for every later `docker compose`, in a file that git does not see
set -eu

random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }

# What the ingresses and submitters seal credentials, prompts and answers with. NATS and the batcher do not have it.
echo "export LLM_PROXY_CLUSTER_SECRET=$(random)"
# What each role shows to NATS. They begin with a letter because deploy/nats.conf would take digits alone for a number.
for role in INGRESS BATCHER SUBMITTER; do
    echo "export NATS_${role}_PASSWORD=p$(random)"
done
