"""The drill: simulated guests behind real UNIX sockets, for practice without a hypervisor.

The simulated guests speak the real protocol to the same client code as real ones. Each behaviour
was first seen on a real guest; `agentclient.backends.drill.troubles` names the test that showed it.
Measurements of the product with an agent come from tests/guests, never from the drill.
"""
