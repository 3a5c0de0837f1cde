// SPDX-License-Identifier: Apache-2.0
#include "cli/watch.h"

#include <algorithm>
#include <csignal>

#include <google/protobuf/util/json_util.h>

#include "cli/conditions_text.h"
#include "cli/kinds.h"
#include "cli/output.h"
#include "remora/v1/remora.pb.h"

namespace remora::cli {

namespace {

namespace api = remora::v1;

volatile std::sig_atomic_t end_wanted = 0;

/// While it lives, SIGINT and SIGTERM only say that the end is wanted.
class EndSignals {
  public:
    EndSignals() {
        end_wanted = 0;
        interrupt_ = std::signal(SIGINT, &note);
        terminate_ = std::signal(SIGTERM, &note);
    }
    EndSignals(const EndSignals&) = delete;
    EndSignals& operator=(const EndSignals&) = delete;
    ~EndSignals() {
        std::signal(SIGINT, interrupt_);
        std::signal(SIGTERM, terminate_);
    }

  private:
    static void note(int /*signal*/) { end_wanted = 1; }

    void (*interrupt_)(int) = SIG_DFL;
    void (*terminate_)(int) = SIG_DFL;
};

/// "opi_api.storage.v1.VirtioBlk"
std::string message_of(const Kind& kind) {
    return std::string(kind.service.substr(0, kind.service.rfind('.') + 1)) +
           std::string(kind.message);
}

/// What the daemon calls the kind that a user names.
std::string watched_kind(const std::string& typed) {
    const Kind* kind = find_kind(typed);
    if (kind != nullptr) {
        return message_of(*kind);
    }
    if (typed.find('.') != std::string::npos) {
        return typed;  // A message's name; the daemon knows whether it is one.
    }
    std::string choices;
    for (const Kind& each : kinds()) {
        choices += (choices.empty() ? "" : ", ") + std::string(each.name);
    }
    refuse_argument("there is no kind '" + typed + "'; use one of: " + choices);
}

/// As the command line calls it.
std::string kind_text(const std::string& message) {
    const auto all = kinds();
    const auto found = std::ranges::find(all, message, message_of);
    return found == all.end() ? message.substr(message.rfind('.') + 1) : std::string(found->name);
}

std::string padded(std::string text, std::size_t width) {
    text.resize(std::max(width, text.size()), ' ');
    return text;
}

/// The daemon's clients see changes as they come, so columns cannot wait for their widest cell.
void print_line(std::ostream& out, const api::ResourceEvent& event) {
    const std::string type = enum_text(api::ResourceEvent_Type_Name(event.type()), "TYPE");
    if (event.type() == api::ResourceEvent::TYPE_SYNCED) {
        out << "-- that is all there is; changes follow\n";
        return;
    }
    std::string line = padded(type, 9) + "  " + padded(kind_text(event.kind()), 17) + "  " +
                       short_name(event.name());
    const char* separator = "  ";
    for (const api::Condition& condition : event.conditions()) {
        line += separator + condition.type() + ": " + status_text(condition);
        line += is_trouble(condition) ? " (" + condition.message() + ")" : "";
        separator = ", ";
    }
    out << line << '\n';
}

void print_json(std::ostream& out, api::ResourceEvent event) {
    google::protobuf::util::JsonPrintOptions options;
    options.always_print_primitive_fields = true;
    std::string text;
    if (!google::protobuf::util::MessageToJsonString(event, &text, options).ok()) {
        // A daemon of another version may have kinds that are unknown here.
        event.clear_resource();
        text.clear();
        if (!google::protobuf::util::MessageToJsonString(event, &text, options).ok()) {
            throw Refused(grpc::StatusCode::INTERNAL, "a change cannot be written as JSON");
        }
    }
    out << text << '\n';
}

void tell_fell_behind(const Session& session) {
    session.out << (session.json()
                        ? R"({"type":"FELL_BEHIND"})"
                        : "-- changes came faster than they were read, and some are lost; "
                          "watching anew")
                << '\n'
                << std::flush;
}

}  // namespace

void watch(const Session& session, const WatchFlags& flags) {
    api::WatchResourcesRequest request;
    for (const std::string& kind : flags.kinds) {
        request.add_kinds(watched_kind(kind));
    }
    request.set_changes_only(flags.changes_only);
    const EndSignals signals;
    for (;;) {
        api::ResourceEvent event;
        Client client(session);
        const auto ended = client.stream(
            "remora.v1.RemoraService", "WatchResources", request, event,
            [&] {
                if (session.json()) {
                    print_json(session.out, event);
                } else {
                    print_line(session.out, event);
                }
                session.out.flush();
                return session.out.good();
            },
            [] { return end_wanted != 0; });
        if (ended != Client::Ended::FellBehind) {
            return;
        }
        tell_fell_behind(session);
        request.set_changes_only(false);
    }
}

}  // namespace remora::cli
