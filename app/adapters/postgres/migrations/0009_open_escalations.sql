-- Escalations that wait for an answer; a row goes once its terminal decision stands. The terminal decision is the one
-- record of a spool of the escalation's own ('ticket:<id>') in the decisions log: whoever finds that spool empty wins.
create table open_escalations (
    project integer not null,
    ticket text not null,
    agent text not null,
    deadline_at_ms bigint not null,
    request bytea not null,
    primary key (project, ticket)
);
create index open_escalations_agent on open_escalations (project, agent);
create index open_escalations_due on open_escalations (project, deadline_at_ms);

-- Keep an escalation; false where the agent, or all together, have too many open. One that is kept already is kept.
create function open_escalation(
    p_project integer, p_ticket text, p_agent text, p_deadline_at_ms bigint, p_request bytea, p_agent_max integer,
    p_all_max integer
) returns boolean language plpgsql as $$
begin
    perform pg_advisory_xact_lock(p_project, 3);
    if exists (select 1 from open_escalations where project = p_project and ticket = p_ticket) then
        return true;
    end if;
    if (select count(*) from open_escalations where project = p_project and agent = p_agent) >= p_agent_max
        or (select count(*) from open_escalations where project = p_project) >= p_all_max then
        return false;
    end if;
    insert into open_escalations (project, ticket, agent, deadline_at_ms, request)
        values (p_project, p_ticket, p_agent, p_deadline_at_ms, p_request);
    return true;
end $$;
