"""Google's SDK by name: the very classes of the whole one, whatever is named and in whatever order."""

import subprocess
import sys
from textwrap import dedent

from tests.serving import ROOT


def run(program: str) -> str:
    """Run a program in an interpreter that has loaded nothing of the SDK yet."""
    done = subprocess.run(
        [sys.executable, "-c", dedent(program)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_class_is_the_one_that_the_whole_service_has() -> None:
    assert (
        run("""
        from components.google import sdk as gcp
        one = gcp.compute.RouterNat, gcp.projects.IAMMember, gcp.organizations.get_client_config_output
        import sys
        assert "pulumi_gcp.compute.autoscaler" not in sys.modules
        gcp.compute.Autoscaler, gcp.projects.__all__ if hasattr(gcp.projects, "__all__") else None
        import pulumi_gcp
        print(one == (
            pulumi_gcp.compute.RouterNat, pulumi_gcp.projects.IAMMember,
            pulumi_gcp.organizations.get_client_config_output,
        ))
        """)
        == "True"
    )


def test_every_name_leads_to_where_it_is_defined_whichever_is_named_first() -> None:
    modules = {
        "compute.Network": "compute.network",
        "compute.NetworkArgs": "compute.network",
        "compute.RouterNatLogConfigArgs": "compute._inputs",
        "compute.outputs.RouterNatLogConfig": "compute.outputs",
        "compute.GetNetworkResult": "compute.get_network",
        "compute.HaVpnGateway": "compute.ha_vpn_gateway",
        "compute.ManagedSslCertificate": "compute.managed_ssl_certificate",
        "projects.IAMMember": "projects.iam_member",
        "Provider": "provider",
    }
    # Each in a copy of an interpreter that has loaded nothing but the door.
    found = run(f"""
        import os
        from operator import attrgetter
        from components.google import sdk as gcp
        for named in {list(modules)}:
            if os.fork() == 0:
                print(named, attrgetter(named)(gcp).__module__, flush=True)
                os._exit(0)
            os.wait()
    """)
    assert dict(line.split() for line in found.splitlines()) == {
        named: f"pulumi_gcp.{module}" for named, module in modules.items()
    }


def test_what_there_is_not_is_missing_as_from_any_module() -> None:
    assert (
        run("""
        from components.google import sdk as gcp
        for owner, name in ((gcp, "nothing"), (gcp.compute, "Nothing"), (gcp.compute, "nothing")):
            print(hasattr(owner, name), end=" ")
        """)
        == "False False False"
    )


def test_others_still_get_the_whole_service() -> None:
    assert (
        run("""
        from components.google import sdk as gcp
        gcp.compute.Network
        before = gcp.compute
        from pulumi_gcp.compute import *
        import pulumi_gcp
        print(Autoscaler is pulumi_gcp.compute.Autoscaler, pulumi_gcp.compute is before)
        """)
        == "True True"
    )
