-- Everything that runs under a log's lock is one call. Locks are taken as (project, log number): files 1, decisions 2.

-- The small number of a project; made on first use.
create function project_id(p_project text) returns integer language plpgsql as $$
declare found integer;
begin
    select id into found from projects where project = p_project;
    if found is null then
        insert into projects (project) values (p_project) on conflict (project) do nothing;
        select id into found from projects where project = p_project;
        insert into log_heads values (found, 'files', 0, decode(repeat('00', 32), 'hex'), 0),
            (found, 'decisions', 0, decode(repeat('00', 32), 'hex'), 0) on conflict do nothing;
    end if;
    return found;
end $$;

-- A fresh incarnation number; the same request gets the same number.
create function register_incarnation(p_project integer, p_origin text, p_origin_name text, p_request text)
returns bigint language plpgsql as $$
declare given bigint;
begin
    perform pg_advisory_xact_lock(p_project, 1);
    select incarnation into given from incarnations where project = p_project and request_id = p_request;
    if given is null then
        select coalesce(max(incarnation), 0) + 1 into given from incarnations where project = p_project;
        insert into incarnations (project, incarnation, origin, origin_name, request_id)
            values (p_project, given, p_origin, p_origin_name, p_request);
    end if;
    return given;
end $$;

-- Take the decisions log's lock; return its head, the clock and the spool's last sequence.
create function open_decisions(p_project integer, p_spool text)
returns table (head_position bigint, head_hash bytea, clock_us bigint, head_at_us bigint, last_sequence bigint)
language plpgsql as $$
begin
    perform pg_advisory_xact_lock(p_project, 2);
    return query select h.position, h.hash, (extract(epoch from clock_timestamp()) * 1000000)::bigint, h.recorded_at_us,
        coalesce(s.last_sequence, 0)
        from log_heads h left join spools s on s.project = p_project and s.spool = p_spool
        where h.project = p_project and h.log = 'decisions';
end $$;
