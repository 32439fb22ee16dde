"""Fill an empty AWS account with an application's hosts and balancer: `python3 -m sandbox.aws.account --help`.

Everything goes through boto3, so that the account is what a real one would be. A second run changes nothing. An
account holds one stage of an application at a time: a run for another stage gives the same hosts the other Stage tag
and replaces the target group and the balancer, whose names contain the stage.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import boto3
import yaml
from botocore.exceptions import BotoCoreError, ClientError

VPC = IPv4Network("10.77.0.0/16")
ZONES = {
    "eu-west-1a": IPv4Network("10.77.1.0/24"),
    "eu-west-1b": IPv4Network("10.77.2.0/24"),
    "eu-west-1c": IPv4Network("10.77.3.0/24"),
}
WEB = "web"
"""The role of the hosts that the balancer sends requests to."""

Tags = dict[str, str]


class DescriptionError(Exception):
    """The description of the account cannot be used; the message says what is wrong, and where."""


@dataclass(frozen=True)
class Host:
    """One instance: its name, private address, zone, and roles in the application."""

    name: str
    address: str
    zone: str
    roles: tuple[str, ...]


@dataclass(frozen=True)
class Certificate:
    """Files of the balancer's certificate: PEM body, private key, and the chain if there is one."""

    body: Path
    private_key: Path
    chain: Path | None = None


@dataclass(frozen=True)
class Description:
    """What the account is to hold. Times in seconds."""

    application: str
    stage: str
    hosts: tuple[Host, ...]
    certificate: Certificate
    health_path: str = "/alive/"
    health_interval: int = 5
    health_timeout: int = 2
    healthy_threshold: int = 2
    unhealthy_threshold: int = 2
    matcher: str = "200"
    deregistration_delay: int = 15

    @property
    def name(self) -> str:
        """The name of the target group and of the balancer."""
        return f"{self.application}-{self.stage}"

    @property
    def tags(self) -> Tags:
        """The tags that everything of the application carries."""
        return {"Application": self.application, "Stage": self.stage}


def load(path: Path) -> Description:
    """Read a description, YAML or JSON; file names in it are relative to it. Raises DescriptionError."""
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise DescriptionError(f"{path} cannot be read: {error}") from error
    try:
        return parse(content, path.parent)
    except DescriptionError as error:
        raise DescriptionError(f"{path}: {error}") from error


def parse(content: Any, directory: Path) -> Description:
    """Return the description in decoded YAML. Raises DescriptionError."""
    given = _take(content, "the description", Description)
    hosts = tuple(_host(host, number) for number, host in enumerate(given.pop("hosts"), 1))
    certificate = {
        name: directory / file for name, file in _take(given.pop("certificate"), "certificate", Certificate).items()
    }
    return Description(hosts=hosts, certificate=Certificate(**certificate), **given)


def _host(content: Any, number: int) -> Host:
    given = _take(content, f"hosts, number {number}", Host)
    if given["zone"] not in ZONES:
        raise DescriptionError(f"host {given['name']}: zone is {given['zone']!r}, must be one of {', '.join(ZONES)}")
    if IPv4Address(given["address"]) not in ZONES[given["zone"]]:
        subnet = ZONES[given["zone"]]
        raise DescriptionError(f"host {given['name']}: address {given['address']} is not in {given['zone']}'s {subnet}")
    return Host(**given | {"roles": tuple(given["roles"])})


def _take(content: Any, where: str, kind: type) -> dict[str, Any]:
    """Return a mapping that has the fields of the dataclass `kind`, or say which are missing or unknown."""
    if not isinstance(content, Mapping):
        raise DescriptionError(f"{where}: must be a mapping, is {content!r}")
    fields = kind.__dataclass_fields__  # type: ignore[attr-defined]
    if unknown := [name for name in content if name not in fields]:
        raise DescriptionError(f"{where}: unknown: {', '.join(map(str, unknown))}; known: {', '.join(fields)}")
    required = [name for name in fields if name not in vars(kind)]
    if missing := [name for name in required if name not in content]:
        raise DescriptionError(f"{where}: missing: {', '.join(missing)}")
    return dict(content)


@dataclass(frozen=True)
class Clients:
    """The boto3 clients of one region."""

    ec2: Any
    elb: Any
    acm: Any


def connect(region: str) -> Clients:
    """Return clients for `region`; address and keys come from the environment (AWS_ENDPOINT_URL, AWS_...)."""
    return Clients(*(boto3.client(name, region_name=region) for name in ("ec2", "elbv2", "acm")))


@dataclass
class Account:
    """An account being filled. `changed` names, in order, what had to be made or altered."""

    description: Description
    clients: Clients
    changed: list[str] = field(default_factory=list)

    def fill(self) -> dict[str, Any]:
        """Make what is missing, and return a summary of what there is: ids, ARNs and `changed`."""
        vpc = self.vpc()
        subnets = {zone: self.subnet(vpc, zone) for zone in ZONES}
        balancer_group, host_group = self.security_groups(vpc)
        instances = {host.name: self.instance(host, subnets[host.zone], host_group) for host in self.description.hosts}
        certificate = self.certificate()
        target_group = self.target_group(vpc)
        self.retire_other_stages()
        balancer = self.balancer(list(subnets.values()), balancer_group)
        self.listeners(balancer["LoadBalancerArn"], target_group, certificate)
        # Last, as in an account that has been running for a while: the group is in use when targets arrive.
        web = [instances[host.name] for host in self.description.hosts if WEB in host.roles]
        self.targets(target_group, web)
        return {
            "vpc": vpc,
            "subnets": subnets,
            "instances": instances,
            "certificate_arn": certificate,
            "target_group_name": self.description.name,
            "target_group_arn": target_group,
            "load_balancer_name": self.description.name,
            "load_balancer_arn": balancer["LoadBalancerArn"],
            "load_balancer_dns_name": balancer["DNSName"],
            "changed": self.changed,
        }

    def vpc(self) -> str:
        """Return the id of the network."""
        found = self.clients.ec2.describe_vpcs(Filters=[_filter("cidr", str(VPC))])["Vpcs"]
        if found:
            return str(found[0]["VpcId"])
        tags = self._specify("vpc", {"Name": self.description.application})
        made = self.clients.ec2.create_vpc(CidrBlock=str(VPC), TagSpecifications=tags)
        return self._made("vpc", made["Vpc"]["VpcId"])

    def subnet(self, vpc: str, zone: str) -> str:
        """Return the id of a zone's subnet."""
        network = str(ZONES[zone])
        filters = [_filter("vpc-id", vpc), _filter("cidr-block", network)]
        if found := self.clients.ec2.describe_subnets(Filters=filters)["Subnets"]:
            return str(found[0]["SubnetId"])
        tags = self._specify("subnet", {"Name": f"{self.description.application}-{zone}"})
        made = self.clients.ec2.create_subnet(
            VpcId=vpc, CidrBlock=network, AvailabilityZone=zone, TagSpecifications=tags
        )
        return self._made(f"subnet {zone}", made["Subnet"]["SubnetId"])

    def security_groups(self, vpc: str) -> tuple[str, str]:
        """Return the ids of the balancer's security group and of the hosts'."""
        everybody = {"IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
        balancer = self._security_group(vpc, "balancer", [_tcp(80, everybody), _tcp(443, everybody)])
        within = {"IpRanges": [{"CidrIp": str(VPC)}]}
        from_balancer = {"UserIdGroupPairs": [{"GroupId": balancer}]}
        return balancer, self._security_group(vpc, "hosts", [_tcp(22, within), _tcp(80, from_balancer)])

    def _security_group(self, vpc: str, part: str, rules: list[dict[str, Any]]) -> str:
        name = f"{self.description.application}-{part}"
        filters = [_filter("vpc-id", vpc), _filter("group-name", name)]
        if found := self.clients.ec2.describe_security_groups(Filters=filters)["SecurityGroups"]:
            return str(found[0]["GroupId"])
        made = self.clients.ec2.create_security_group(
            VpcId=vpc,
            GroupName=name,
            Description=name,
            TagSpecifications=self._specify("security-group", {"Name": name}),
        )
        self.clients.ec2.authorize_security_group_ingress(GroupId=made["GroupId"], IpPermissions=rules)
        return self._made(f"security group {name}", made["GroupId"])

    def instance(self, host: Host, subnet: str, security_group: str) -> str:
        """Return the id of a host's instance, tagged for the description's stage."""
        tags = {"Name": host.name, "Role": ",".join(host.roles), **self.description.tags}
        filters = [
            _filter("tag:Name", host.name),
            _filter("tag:Application", self.description.application),
            _filter("instance-state-name", "pending", "running", "stopping", "stopped"),
        ]
        reservations = self.clients.ec2.describe_instances(Filters=filters)["Reservations"]
        for found in (instance for reservation in reservations for instance in reservation["Instances"]):
            if _tags(found["Tags"]) != tags:
                self.clients.ec2.create_tags(Resources=[found["InstanceId"]], Tags=_tag_list(tags))
                self.changed.append(f"tags of {host.name}")
            return str(found["InstanceId"])
        interface = {
            "DeviceIndex": 0,
            "SubnetId": subnet,
            "PrivateIpAddress": host.address,
            "Groups": [security_group],
        }
        made = self.clients.ec2.run_instances(
            ImageId=self._image,
            InstanceType="t3.small",
            MinCount=1,
            MaxCount=1,
            NetworkInterfaces=[interface],
            TagSpecifications=[{"ResourceType": "instance", "Tags": _tag_list(tags)}],
        )
        return self._made(f"instance {host.name}", made["Instances"][0]["InstanceId"])

    @cached_property
    def _image(self) -> str:
        filters = [_filter("name", "amzn2-ami-hvm*")]
        images = self.clients.ec2.describe_images(Owners=["amazon"], Filters=filters)["Images"]
        return min(str(image["ImageId"]) for image in images)

    def certificate(self) -> str:
        """Return the ARN of the balancer's certificate, imported again when the files have changed."""
        files = self.description.certificate
        content = {"Certificate": _read(files.body), "PrivateKey": _read(files.private_key)}
        if files.chain:
            content["CertificateChain"] = _read(files.chain)
        for arn in self._certificates():
            known = self.clients.acm.get_certificate(CertificateArn=arn)["Certificate"]
            if known.strip() != content["Certificate"].decode().strip():
                self.clients.acm.import_certificate(CertificateArn=arn, **content)
                self.changed.append("certificate")
            return arn
        # The stage is left out: the certificate stays when the stage changes.
        tags = _tag_list({"Application": self.description.application})
        return self._made("certificate", self.clients.acm.import_certificate(Tags=tags, **content)["CertificateArn"])

    def _certificates(self) -> Iterable[str]:
        for summary in self.clients.acm.list_certificates()["CertificateSummaryList"]:
            arn = str(summary["CertificateArn"])
            tags = _tags(self.clients.acm.list_tags_for_certificate(CertificateArn=arn)["Tags"])
            if tags.get("Application") == self.description.application:
                yield arn

    def target_group(self, vpc: str) -> str:
        """Return the ARN of the target group, with the description's settings."""
        wanted = self.description
        check = {
            "HealthCheckProtocol": "HTTP",
            "HealthCheckPort": "traffic-port",
            "HealthCheckPath": wanted.health_path,
            "HealthCheckIntervalSeconds": wanted.health_interval,
            "HealthCheckTimeoutSeconds": wanted.health_timeout,
            "HealthyThresholdCount": wanted.healthy_threshold,
            "UnhealthyThresholdCount": wanted.unhealthy_threshold,
            "Matcher": {"HttpCode": wanted.matcher},
        }
        found = self._target_groups().get(wanted.name)
        if found is None:
            made = self.clients.elb.create_target_group(
                Name=wanted.name, Protocol="HTTP", Port=80, VpcId=vpc, TargetType="instance",
                Tags=_tag_list(wanted.tags), **check,
            )  # fmt: skip
            found = made["TargetGroups"][0]
            self.changed.append(f"target group {wanted.name}")
        elif any(found.get(name) != value for name, value in check.items()):
            self.clients.elb.modify_target_group(TargetGroupArn=found["TargetGroupArn"], **check)
            self.changed.append(f"health check of {wanted.name}")
        self._deregistration_delay(found["TargetGroupArn"])
        return str(found["TargetGroupArn"])

    def _deregistration_delay(self, target_group: str) -> None:
        wanted = {
            "Key": "deregistration_delay.timeout_seconds",
            "Value": str(self.description.deregistration_delay),
        }
        known = self.clients.elb.describe_target_group_attributes(TargetGroupArn=target_group)["Attributes"]
        if wanted not in known:
            self.clients.elb.modify_target_group_attributes(TargetGroupArn=target_group, Attributes=[wanted])
            self.changed.append("deregistration delay")

    def retire_other_stages(self) -> None:
        """Delete the balancers and target groups that other stages of the application have left."""
        for name, arn in self._of_other_stages(self._balancers(), "LoadBalancerArn").items():
            self.clients.elb.delete_load_balancer(LoadBalancerArn=arn)
            self.changed.append(f"balancer {name} deleted")
        for name, arn in self._of_other_stages(self._target_groups(), "TargetGroupArn").items():
            self.clients.elb.delete_target_group(TargetGroupArn=arn)
            self.changed.append(f"target group {name} deleted")

    def _of_other_stages(self, found: dict[str, dict[str, Any]], arn: str) -> dict[str, str]:
        arns = {name: str(resource[arn]) for name, resource in found.items() if name != self.description.name}
        if not arns:
            return {}
        described = self.clients.elb.describe_tags(ResourceArns=list(arns.values()))["TagDescriptions"]
        ours = {
            one["ResourceArn"]
            for one in described
            if _tags(one["Tags"]).get("Application") == self.description.application
        }
        return {name: arn for name, arn in arns.items() if arn in ours}

    def balancer(self, subnets: list[str], security_group: str) -> dict[str, Any]:
        """Return the balancer, as AWS describes it."""
        name = self.description.name
        if found := self._balancers().get(name):
            return found
        made = self.clients.elb.create_load_balancer(
            Name=name, Subnets=subnets, SecurityGroups=[security_group], Scheme="internet-facing", Type="application",
            Tags=_tag_list(self.description.tags),
        )  # fmt: skip
        self.changed.append(f"balancer {name}")
        return dict(made["LoadBalancers"][0])

    def listeners(self, balancer: str, target_group: str, certificate: str) -> None:
        """Make the balancer listen: HTTPS:443 for the target group, HTTP:80 sends everybody there."""
        listeners = self.clients.elb.describe_listeners(LoadBalancerArn=balancer)["Listeners"]
        known = {listener["Port"] for listener in listeners}
        redirect = {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301"}
        wanted: list[dict[str, Any]] = [
            {
                "Protocol": "HTTPS",
                "Port": 443,
                "Certificates": [{"CertificateArn": certificate}],
                "DefaultActions": [{"Type": "forward", "TargetGroupArn": target_group}],
            },
            {
                "Protocol": "HTTP",
                "Port": 80,
                "DefaultActions": [{"Type": "redirect", "RedirectConfig": redirect}],
            },
        ]
        for listener in wanted:
            if listener["Port"] not in known:
                self.clients.elb.create_listener(LoadBalancerArn=balancer, **listener)
                self.changed.append(f"listener {listener['Port']}")

    def targets(self, target_group: str, instances: list[str]) -> None:
        """Register the instances that are not in the group: neither in service nor on their way in or out."""
        described = self.clients.elb.describe_target_health(TargetGroupArn=target_group)["TargetHealthDescriptions"]
        known = {one["Target"]["Id"] for one in described}
        if missing := [instance for instance in instances if instance not in known]:
            targets = [{"Id": instance} for instance in missing]
            self.clients.elb.register_targets(TargetGroupArn=target_group, Targets=targets)
            self.changed.append(f"targets {', '.join(missing)}")

    def _balancers(self) -> dict[str, dict[str, Any]]:
        found = self.clients.elb.describe_load_balancers()["LoadBalancers"]
        return {balancer["LoadBalancerName"]: balancer for balancer in found}

    def _target_groups(self) -> dict[str, dict[str, Any]]:
        found = self.clients.elb.describe_target_groups()["TargetGroups"]
        return {group["TargetGroupName"]: group for group in found}

    def _made(self, what: str, identity: str) -> str:
        self.changed.append(what)
        return str(identity)

    def _specify(self, kind: str, tags: Tags) -> list[dict[str, Any]]:
        return [{"ResourceType": kind, "Tags": _tag_list({**tags, "Application": self.description.application})}]


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise DescriptionError(f"certificate: {file} cannot be read: {error.strerror}") from error


def _filter(name: str, *values: str) -> dict[str, Any]:
    return {"Name": name, "Values": list(values)}


def _tcp(port: int, source: dict[str, Any]) -> dict[str, Any]:
    return {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, **source}


def _tag_list(tags: Tags) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _tags(tag_list: list[dict[str, str]]) -> Tags:
    return {tag["Key"]: tag["Value"] for tag in tag_list}


def main(
    arguments: list[str] | None = None,
    environment: Mapping[str, str] | None = None,
    connected: Callable[[str], Clients] = connect,
) -> int:
    """Fill the account that the environment names and print the summary as JSON (0), or say what is wrong (1, 2)."""
    parser = argparse.ArgumentParser(prog="sandbox.aws.account", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("description", type=Path, help="YAML or JSON file; account.example.yml shows all of it")
    parser.add_argument("--stage", help="the stage to tag the hosts for, instead of the description's")
    parser.add_argument("--region", default="eu-west-1")
    chosen = parser.parse_args(arguments)
    endpoint = (os.environ if environment is None else environment).get("AWS_ENDPOINT_URL")
    if not endpoint:
        print("error: AWS_ENDPOINT_URL is not set, so this would fill an account of the real AWS", file=sys.stderr)
        return 2
    try:
        description = load(chosen.description)
        if chosen.stage:
            description = replace(description, stage=chosen.stage)
        summary = Account(description, connected(chosen.region)).fill()
    except DescriptionError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (BotoCoreError, ClientError) as error:
        print(f"error: the AWS endpoint {endpoint} did not do what it was asked: {error}", file=sys.stderr)
        return 1
    json.dump(summary, sys.stdout, indent=2)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
