//! ListGroups: the groups that this node keeps.

use millstream_wire::{
    ErrorCode,
    list_groups::{ListGroupsRequest, ListGroupsResponse, ListedGroup},
};

use crate::context::RequestContext;

/// The only type of group that there is, as Kafka names it.
const CLASSIC: &str = "classic";

pub(super) async fn handle(
    context: &RequestContext,
    request: ListGroupsRequest,
) -> ListGroupsResponse {
    let wanted = |filter: &[String], name: &str| {
        filter.is_empty()
            || filter
                .iter()
                .any(|wanted| wanted.eq_ignore_ascii_case(name))
    };
    let listings = match context.broker.groups().list().await {
        Ok(listings) => listings,
        Err(error) => {
            return ListGroupsResponse {
                error_code: error.code(),
                ..ListGroupsResponse::default()
            };
        }
    };
    let groups = listings
        .into_iter()
        .map(|listing| ListedGroup {
            group_id: listing.group,
            protocol_type: listing.protocol_type,
            group_state: listing.state.to_string(),
            group_type: CLASSIC.to_owned(),
        })
        .filter(|group| wanted(&request.states_filter, &group.group_state))
        .filter(|_| wanted(&request.types_filter, CLASSIC))
        .collect();
    ListGroupsResponse {
        throttle_time_ms: 0,
        error_code: ErrorCode::None.code(),
        groups,
    }
}
