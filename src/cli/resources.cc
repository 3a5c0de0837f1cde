// SPDX-License-Identifier: Apache-2.0
#include "cli/resources.h"

#include <array>
#include <utility>
#include <vector>

#include <google/protobuf/descriptor.h>

#include "cli/calls.h"
#include "cli/limits.h"
#include "cli/output.h"
#include "core/check.h"
#include "core/units.h"
#include "remora/v1/remora.pb.h"
#include "storage/opicommon.pb.h"

namespace remora::cli {

namespace {

namespace api = remora::v1;

void print_table(const Session& session, const Kind& kind, const std::vector<MessagePtr>& all) {
    std::vector<std::string> titles{"NAME"};
    for (const Column& column : kind.columns) {
        titles.emplace_back(column.title);
    }
    Table table(titles);
    for (const MessagePtr& resource : all) {
        std::vector<std::string> cells{short_name(name_of(*resource))};
        for (const Column& column : kind.columns) {
            cells.push_back(column.text(*resource));
        }
        table.add(std::move(cells));
    }
    table.print(session.out);
}

void print_one(const Session& session, const Kind& kind, MessagePtr resource) {
    if (session.json()) {
        session.out << to_json(*resource);
        return;
    }
    std::vector<MessagePtr> one;
    one.push_back(std::move(resource));
    print_table(session, kind, one);
}

void print_all(const Session& session, const Kind& kind, const std::vector<MessagePtr>& all) {
    if (!session.json()) {
        print_table(session, kind, all);
        return;
    }
    session.out << '[';
    const char* separator = "\n";
    for (const MessagePtr& resource : all) {
        std::string text = to_json(*resource);
        text.erase(text.find_last_not_of('\n') + 1);
        session.out << std::exchange(separator, ",\n") << text;
    }
    session.out << (all.empty() ? "]\n" : "\n]\n");
}

std::string volume_reference(const Kind& kind, const std::string& typed) {
    if (kind.parent.empty() && typed.find('/') == std::string::npos) {
        return std::string(kind.pattern) + "/" + typed;
    }
    return full_name(kind, typed);
}

std::string bytes_text(std::uint64_t bytes) {
    return core::format_size(bytes);
}

void print_opi_stats(const Session& session, const opi_api::storage::v1::VolumeStats& stats) {
    Table table({"READS", "READ", "WRITES", "WRITTEN", "UNMAPS", "UNMAPPED"});
    const auto size = [](std::int32_t bytes) {
        return bytes < 0 ? std::string("?") : bytes_text(static_cast<std::uint64_t>(bytes));
    };
    table.add({std::to_string(stats.read_ops_count()), size(stats.read_bytes_count()),
               std::to_string(stats.write_ops_count()), size(stats.write_bytes_count()),
               std::to_string(stats.unmap_ops_count()), size(stats.unmap_bytes_count())});
    table.print(session.out);
}

/// Asks for the object, has it changed, and sends what lies under `paths`.
template <typename Change>
void update(const Session& session,
            const Kind& kind,
            const std::string& typed,
            std::span<const std::string_view> paths,
            Change change) {
    Client client(session);
    const MessagePtr resource = get_resource(client, kind, typed);
    change(*resource);
    const std::vector<std::string> mask(paths.begin(), paths.end());
    print_one(session, kind, update_resource(client, kind, *resource, mask));
}

}  // namespace

void create(const Session& session,
            const Kind& kind,
            const std::string& typed,
            const Values& values) {
    const MessagePtr resource = new_resource(kind);
    kind.build(values, *resource);
    Client client(session);
    print_one(session, kind, create_resource(client, kind, typed, *resource));
}

void get(const Session& session, const Kind& kind, const std::string& typed) {
    Client client(session);
    print_one(session, kind, get_resource(client, kind, typed));
}

void list(const Session& session, const Kind& kind, const std::string& parent) {
    Client client(session);
    print_all(session, kind, list_resources(client, kind, parent));
}

void remove(const Session& session,
            const Kind& kind,
            const std::string& typed,
            bool allow_missing) {
    Client client(session);
    delete_resource(client, kind, typed, allow_missing);
    if (session.json()) {
        session.out << "{}\n";
    } else {
        session.out << "deleted " << kind.name << ' ' << typed << '\n';
    }
}

void resize(const Session& session,
            const Kind& kind,
            const std::string& typed,
            const std::string& size_text) {
    constexpr std::array kBlocks{std::string_view("blocks_count")};
    update(session, kind, typed, kBlocks, [&size_text](Message& volume) {
        const auto* block = volume.GetDescriptor()->FindFieldByName("block_size");
        const auto* count = volume.GetDescriptor()->FindFieldByName("blocks_count");
        CHECK(block != nullptr && count != nullptr);
        const std::uint64_t size = take(core::parse_size(size_text), "--size");
        const auto block_size =
            static_cast<std::uint64_t>(volume.GetReflection()->GetInt64(volume, block));
        if (size == 0 || block_size == 0 || size % block_size != 0) {
            refuse_argument("--size " + size_text +
                            " is not a multiple of the volume's block size, " +
                            std::to_string(block_size));
        }
        volume.GetReflection()->SetInt64(&volume, count,
                                         static_cast<std::int64_t>(size / block_size));
    });
}

void limit(const Session& session,
           const Kind& kind,
           const std::string& typed,
           const Values& values) {
    update(session, kind, typed, kind.limits_paths, [&](Message& resource) {
        set_limits(values, *kind.limits(resource));
        set_minimum(values, *kind.minimum(resource));
    });
}

void stats(const Session& session, const Kind& kind, const std::string& typed) {
    if (kind.counters == Counters::Volume) {
        volume_stats(session, volume_reference(kind, typed));
        return;
    }
    Client client(session);
    const MessagePtr answer = get_stats(client, kind, typed);
    const auto* field = answer->GetDescriptor()->FindFieldByName("stats");
    CHECK(field != nullptr);
    const Message& counters = answer->GetReflection()->GetMessage(*answer, field);
    if (session.json()) {
        session.out << to_json(counters);
    } else {
        print_opi_stats(session, as<opi_api::storage::v1::VolumeStats>(counters));
    }
}

void volume_stats(const Session& session, const std::string& reference) {
    api::GetVolumeStatsRequest request;
    request.set_volume_name_ref(reference);
    api::VolumeStats64 counters;
    Client(session).call("remora.v1.RemoraService", "GetVolumeStats", request, counters);
    if (session.json()) {
        session.out << to_json(counters);
        return;
    }
    Table table({"READS", "READ", "WRITES", "WRITTEN", "UNMAPS", "UNMAPPED", "FLUSHES", "ERRORS"});
    table.add({std::to_string(counters.read_ops()), bytes_text(counters.read_bytes()),
               std::to_string(counters.write_ops()), bytes_text(counters.write_bytes()),
               std::to_string(counters.unmap_ops()), bytes_text(counters.unmap_bytes()),
               std::to_string(counters.flush_ops()), std::to_string(counters.errors())});
    table.print(session.out);
}

}  // namespace remora::cli
