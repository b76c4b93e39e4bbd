"""The drill: simulated guests behind real UNIX sockets, for people without a hypervisor.

They speak the real protocol to the same client code as everything else. What they do was seen on
real guests first; `agentclient.backends.drill.troubles` names the test that showed it. Figures
about the product's behaviour with an agent come from tests/guests, never from here.
"""
