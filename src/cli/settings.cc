// SPDX-License-Identifier: Apache-2.0
#include "cli/settings.h"

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include "core/check.h"
#include "remora/v1/remora.pb.h"

namespace remora::cli {

namespace {

namespace api = remora::v1;

constexpr std::string_view kService = "remora.v1.RemoraService";

template <typename Request>
void call(Client& client, const char* method, const Request& request, Message& answer) {
    client.call(kService, method, request, answer);
}

/// Whether there is no such setting, be it that the daemon is older or that the resource is of a
/// sort that has none.
bool means_none(const Refused& refused) {
    return refused.code() == grpc::StatusCode::UNIMPLEMENTED ||
           refused.code() == grpc::StatusCode::FAILED_PRECONDITION ||
           refused.code() == grpc::StatusCode::INVALID_ARGUMENT ||
           refused.code() == grpc::StatusCode::NOT_FOUND;
}

/// One call for each resource.
template <typename Answer, typename Request>
std::vector<Setting> ask_each(Client& client,
                              const std::vector<std::string>& resources,
                              const char* method,
                              Request (*request_for)(const std::string& name)) {
    std::vector<Setting> all;
    for (const std::string& name : resources) {
        try {
            auto answer = std::make_unique<Answer>();
            call(client, method, request_for(name), *answer);
            all.push_back({name, std::move(answer)});
        } catch (const Refused& refused) {
            if (!means_none(refused)) {
                throw;
            }
        }
    }
    return all;
}

std::vector<Setting> ask_ana(Client& client, const std::vector<std::string>& controllers) {
    return ask_each<api::AnaPort, api::GetAnaStateRequest>(client, controllers, "GetAnaState",
                                                           [](const std::string& name) {
                                                               api::GetAnaStateRequest request;
                                                               request.set_name(name);
                                                               return request;
                                                           });
}

void set_ana(Client& client, const std::string& name, const Message& wanted, const Changed&) {
    api::SetAnaStateRequest request;
    request.set_name(name);
    request.set_ana_state(as<api::AnaPort>(wanted).ana_state());
    api::AnaPort answer;
    call(client, "SetAnaState", request, answer);
}

/// Without anything to set, the call tells.
std::vector<Setting> ask_timings(Client& client, const std::vector<std::string>& remotes) {
    return ask_each<api::ConnectionTimings, api::SetConnectionTimingsRequest>(
        client, remotes, "SetConnectionTimings", [](const std::string& name) {
            api::SetConnectionTimingsRequest request;
            request.set_remote_controller(name);
            return request;
        });
}

/// The request's fields are called as the answer's.
void set_timings(Client& client,
                 const std::string& name,
                 const Message& wanted,
                 const Changed& changed) {
    api::SetConnectionTimingsRequest request;
    request.set_remote_controller(name);
    for (const std::string& field : changed) {
        const auto* from = wanted.GetDescriptor()->FindFieldByName(field);
        const auto* to = request.GetDescriptor()->FindFieldByName(field);
        CHECK(from != nullptr && to != nullptr);
        request.GetReflection()->SetUInt32(&request, to,
                                           wanted.GetReflection()->GetUInt32(wanted, from));
    }
    api::ConnectionTimings answer;
    call(client, "SetConnectionTimings", request, answer);
}

/// Only a remote controller that uses several paths at once has a policy to choose.
std::vector<Setting> ask_policies(Client& client, const std::vector<std::string>& remotes) {
    std::vector<Setting> all;
    api::GetStatusResponse status;
    try {
        call(client, "GetStatus", api::GetStatusRequest(), status);
    } catch (const Refused& refused) {
        if (!means_none(refused)) {
            throw;
        }
    }
    for (const api::RemoteControllerStatus& remote : status.remote_controllers()) {
        const bool chosen = remote.policy() == api::PATH_POLICY_QUEUE_DEPTH ||
                            remote.policy() == api::PATH_POLICY_ROUND_ROBIN;
        if (chosen && std::ranges::find(remotes, remote.name()) != remotes.end()) {
            auto setting = std::make_unique<api::PathPolicySetting>();
            setting->set_remote_controller(remote.name());
            setting->set_policy(remote.policy());
            all.push_back({remote.name(), std::move(setting)});
        }
    }
    return all;
}

void set_policy(Client& client, const std::string& name, const Message& wanted, const Changed&) {
    api::SetPathPolicyRequest request;
    request.set_remote_controller(name);
    request.set_policy(as<api::PathPolicySetting>(wanted).policy());
    api::PathPolicySetting answer;
    call(client, "SetPathPolicy", request, answer);
}

// What the daemon gives to what is new.
void default_ana(Message& setting) {
    as<api::AnaPort>(setting).set_ana_state(api::ANA_STATE_OPTIMIZED);
}
void default_policy(Message& setting) {
    as<api::PathPolicySetting>(setting).set_policy(api::PATH_POLICY_QUEUE_DEPTH);
}
void default_timings(Message& setting) {
    auto& timings = as<api::ConnectionTimings>(setting);
    timings.set_connect_ms(5'000);
    timings.set_keep_alive_ms(5'000);
    timings.set_io_ms(10'000);
    timings.set_reconnect_max_ms(5'000);
}

/// What there is of a setting besides its kind.
struct Calls {
    std::string_view kind;
    std::vector<Setting> (*ask)(Client&, const std::vector<std::string>& resources);
    void (*set)(Client&, const std::string& name, const Message& wanted, const Changed& changed);
    void (*defaults)(Message& setting);
};
constexpr std::array kCalls{Calls{"ana", ask_ana, set_ana, default_ana},
                            Calls{"timings", ask_timings, set_timings, default_timings},
                            Calls{"path-policy", ask_policies, set_policy, default_policy}};

const Calls& calls_of(const Kind& kind) {
    const auto found = std::ranges::find(kCalls, kind.name, &Calls::kind);
    CHECK(found != kCalls.end());
    return *found;
}

constexpr std::array<std::string_view, 1> kAnaFields{"ana_state"};
constexpr std::array<std::string_view, 1> kPolicyFields{"policy"};
constexpr std::array<std::string_view, 4> kTimingFields{"connect_ms", "keep_alive_ms", "io_ms",
                                                        "reconnect_max_ms"};

}  // namespace

std::span<const Kind> setting_kinds() {
    static const std::array kAll{Kind{.name = "ana",
                                      .plural = "ana",
                                      .what = "how good the way through a listener is",
                                      .service = kService,
                                      .message = "AnaPort",
                                      .collection = "nvmeControllers",
                                      .parent = "nvmeSubsystems",
                                      .example = "lab/tcp",
                                      .changeable = kAnaFields,
                                      .setting_of = "controller"},
                                 Kind{.name = "timings",
                                      .plural = "timings",
                                      .what = "how long a remote controller's connections wait",
                                      .service = kService,
                                      .message = "ConnectionTimings",
                                      .collection = "nvmeRemoteControllers",
                                      .example = "array",
                                      .changeable = kTimingFields,
                                      .name_field = "remote_controller",
                                      .setting_of = "remote-controller"},
                                 Kind{.name = "path-policy",
                                      .plural = "path-policy",
                                      .what = "which of its paths a remote controller uses",
                                      .service = kService,
                                      .message = "PathPolicySetting",
                                      .collection = "nvmeRemoteControllers",
                                      .example = "array",
                                      .changeable = kPolicyFields,
                                      .name_field = "remote_controller",
                                      .setting_of = "remote-controller"}};
    return kAll;
}

const Kind* find_setting_kind(std::string_view name) {
    for (const Kind& kind : setting_kinds()) {
        if (name == kind.name) {
            return &kind;
        }
    }
    return nullptr;
}

std::vector<Setting> ask_settings(Client& client,
                                  const Kind& kind,
                                  const std::vector<std::string>& resources) {
    return resources.empty() ? std::vector<Setting>() : calls_of(kind).ask(client, resources);
}

void set_setting(Client& client,
                 const Kind& kind,
                 const std::string& name,
                 const Message& wanted,
                 const Changed& changed) {
    calls_of(kind).set(client, name, wanted, changed);
}

MessagePtr default_setting(const Kind& kind) {
    MessagePtr message = new_resource(kind);
    calls_of(kind).defaults(*message);
    return message;
}

}  // namespace remora::cli
