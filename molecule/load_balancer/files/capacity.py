"""Gives the account an Auto Scaling group of instances that run already, and an alarm in the state that is named."""

import sys

import boto3

scaling, watch = boto3.client("autoscaling", "eu-west-1"), boto3.client("cloudwatch", "eu-west-1")
state, *instances = sys.argv[1:]

if not scaling.describe_auto_scaling_groups()["AutoScalingGroups"]:
    scaling.create_launch_configuration(LaunchConfigurationName="web", ImageId="ami-12c6146b", InstanceType="t3.small")
    scaling.create_auto_scaling_group(
        AutoScalingGroupName="web",
        LaunchConfigurationName="web",
        MinSize=0,
        MaxSize=3,
        DesiredCapacity=0,
        AvailabilityZones=["eu-west-1a", "eu-west-1b", "eu-west-1c"],
    )
    scaling.attach_instances(AutoScalingGroupName="web", InstanceIds=instances)
    scaling.update_auto_scaling_group(AutoScalingGroupName="web", MinSize=1)
    watch.put_metric_alarm(
        AlarmName="amy-5xx",
        Namespace="AWS/ApplicationELB",
        MetricName="HTTPCode_Target_5XX_Count",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=5,
        ComparisonOperator="GreaterThanThreshold",
    )
watch.set_alarm_state(AlarmName="amy-5xx", StateValue=state, StateReason="The test says so.")
