//! Network interfaces and other attachments.

#![allow(missing_docs, reason = "the fields are the protocol's own, documented there under the same names")]

use crate::field::{is_default, or_default};
use serde::{Deserialize, Serialize};

/// A network interface of a task or of the node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ElasticNetworkInterface {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub name: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub mac_address: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub attachment_arn: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub ec2_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<i64>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub interface_association_protocol: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface_tunnel_properties: Option<NetworkInterfaceTunnelProperties>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface_veth_properties: Option<NetworkInterfaceVethProperties>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface_vlan_properties: Option<NetworkInterfaceVlanProperties>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub ipv4_addresses: Vec<Ipv4AddressAssignment>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub ipv6_addresses: Vec<Ipv6AddressAssignment>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub domain_name: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub domain_name_servers: Vec<String>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub private_dns_name: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub subnet_gateway_ipv4_address: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub subnet_gateway_ipv6_address: String,
}

/// An interface at the end of a tunnel.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkInterfaceTunnelProperties {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub tunnel_id: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub interface_ip_address: String,
}

/// An interface that is one end of a pair.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkInterfaceVethProperties {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub peer_interface: String,
}

/// An interface that is a VLAN of a trunk.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkInterfaceVlanProperties {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub vlan_id: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub trunk_interface_mac_address: String,
}

/// An IPv4 address of an interface.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Ipv4AddressAssignment {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub private_address: String,
    #[serde(deserialize_with = "or_default")]
    pub primary: bool,
}

/// An IPv6 address of an interface.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Ipv6AddressAssignment {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub address: String,
    #[serde(deserialize_with = "or_default")]
    pub primary: bool,
}

/// A resource attached to a task.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Attachment {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub attachment_arn: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub attachment_type: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub attachment_properties: Vec<AttachmentProperty>,
}

/// A property of an attachment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AttachmentProperty {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub name: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub value: String,
}
