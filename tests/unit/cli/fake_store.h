// SPDX-License-Identifier: Apache-2.0
// FakeStore: a daemon that keeps what it is told, by the rules of the real one that matter to
// `remora apply`: it chooses what was left out, changes only what can change, and refuses to make
// what has no parent and to delete what is in use. All kinds, through protobuf's descriptions.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <google/protobuf/empty.pb.h>
#include <google/protobuf/field_mask.pb.h>
#include <google/protobuf/util/field_mask_util.h>

#include "cli/host_function.h"
#include "cli/kinds.h"
#include "remora/v1/remora.pb.h"
#include "storage/backend_malloc.pb.h"
#include "storage/backend_nvme.pb.h"
#include "storage/frontend_nvme.pb.h"
#include "storage/frontend_virtio_blk.pb.h"
#include "storage/middleend_qos_volume.pb.h"
#include "tests/unit/cli/fake_daemon.h"

namespace remora::cli {

class FakeStore {
  public:
    using Answer = FakeDaemon::Answer;
    using Resource = std::shared_ptr<Message>;

    FakeStore() {
        daemon.handle([this](const std::string& method, const std::string& request) {
            return call(method, request);
        });
    }

    FakeDaemon daemon;
    /// What changed something: "create malloc disk0", in order.
    std::vector<std::string> log;
    /// Of an older daemon: false.
    bool has_settings = true;

    /// The resource of the kind; null when there is none.
    template <typename T>
    const T* find(const std::string& name) const {
        const auto found = all_.find({T::descriptor()->name(), name});
        return found == all_.end() ? nullptr : dynamic_cast<const T*>(found->second.get());
    }
    [[nodiscard]] std::size_t size() const { return all_.size(); }

    Ran run(std::vector<std::string> arguments) { return run_at(daemon, std::move(arguments)); }

  private:
    using Key = std::pair<std::string, std::string>;  ///< Message and name.
    using Method = google::protobuf::MethodDescriptor;

    static Answer fail(grpc::StatusCode code, const std::string& text) {
        return {grpc::Status(code, text), ""};
    }
    static Answer done(const Message& message) {
        return {grpc::Status::OK, message.SerializeAsString()};
    }
    static Resource make(const google::protobuf::Descriptor* type) {
        return Resource(
            google::protobuf::MessageFactory::generated_factory()->GetPrototype(type)->New());
    }
    static std::string text(const Message& message, const std::string& field) {
        const auto* found = message.GetDescriptor()->FindFieldByName(field);
        return found == nullptr ? "" : message.GetReflection()->GetString(message, found);
    }
    static void set_text(Message& message, const std::string& field, const std::string& value) {
        message.GetReflection()->SetString(&message,
                                           message.GetDescriptor()->FindFieldByName(field), value);
    }
    static const Kind* kind_of(const std::string& message) {
        for (const Kind& kind : kinds()) {
            if (kind.message == message) {
                return &kind;
            }
        }
        return nullptr;
    }

    Answer call(const std::string& path, const std::string& bytes) {
        std::string name = path.substr(1);
        std::ranges::replace(name, '/', '.');
        const auto* method =
            google::protobuf::DescriptorPool::generated_pool()->FindMethodByName(name);
        if (method == nullptr) {
            return fail(grpc::StatusCode::UNIMPLEMENTED, "no such call");
        }
        const Resource request = make(method->input_type());
        if (!request->ParseFromString(bytes)) {
            return fail(grpc::StatusCode::INTERNAL, "no request");
        }
        const std::string& verb = method->name();
        if (verb == "AttachVolume") {
            return attach(dynamic_cast<const v1::AttachVolumeRequest&>(*request));
        }
        if (verb == "DetachVolume") {
            return detach(dynamic_cast<const v1::DetachVolumeRequest&>(*request));
        }
        if (has_settings && request->GetDescriptor()->file()->package() == "remora.v1" &&
            (verb.ends_with("AnaState") || verb.starts_with("Set") || verb == "GetStatus")) {
            return setting(verb, *request);
        }
        if (verb.starts_with("Create")) {
            return create(*method, *request);
        }
        if (verb.starts_with("List")) {
            return list(*method, *request);
        }
        if (verb.starts_with("Update")) {
            return update(*method, *request);
        }
        return verb.starts_with("Delete") ? remove(verb.substr(6), text(*request, "name"))
                                          : fail(grpc::StatusCode::UNIMPLEMENTED, "not here");
    }

    static const Message& resource_of(const Method& method, const Message& request) {
        const auto* type = request.GetDescriptor();
        for (int i = 0; i < type->field_count(); ++i) {
            if (type->field(i)->message_type() == method.output_type()) {
                return request.GetReflection()->GetMessage(request, type->field(i));
            }
        }
        throw std::runtime_error("the request has no resource");
    }

    Answer create(const Method& method, const Message& request) {
        const Message& asked = resource_of(method, request);
        const std::string& type = asked.GetDescriptor()->name();
        const Kind& kind = *kind_of(type);
        std::string id;
        for (int i = 0; i < request.GetDescriptor()->field_count(); ++i) {
            const auto& field = *request.GetDescriptor()->field(i);
            if (field.name().ends_with("_id")) {
                id = text(request, field.name());
            }
        }
        const std::string parent = text(request, "parent");
        if (!kind.parent.empty() && !has_name(parent)) {
            return fail(grpc::StatusCode::NOT_FOUND, parent + " does not exist");
        }
        const Resource made = make(asked.GetDescriptor());
        made->CopyFrom(asked);
        const std::string name =
            (parent.empty() ? "" : parent + "/") + std::string(kind.collection) + "/" + id;
        set_text(*made, "name", name);
        if (const std::string volume = volume_of(*made); !volume.empty() && !has_volume(volume)) {
            return fail(grpc::StatusCode::NOT_FOUND, "there is no volume " + volume);
        }
        choose(*made);
        if (!all_.emplace(Key(type, name), made).second) {
            return fail(grpc::StatusCode::ALREADY_EXISTS, name + " exists");
        }
        log.push_back("create " + std::string(kind.name) + " " + short_name(name));
        return done(*made);
    }

    /// What the daemon writes when the user does not.
    void choose(Message& made) {
        namespace opi = opi_api::storage::v1;
        const std::string uuid =
            "00000000-0000-4000-8000-" + std::to_string(100'000'000'000 + next_++);
        if (auto* volume = dynamic_cast<opi::MallocVolume*>(&made);
            volume != nullptr && volume->uuid().empty()) {
            volume->set_uuid(uuid);
        }
        if (auto* subsystem = dynamic_cast<opi::NvmeSubsystem*>(&made)) {
            if (subsystem->spec().serial_number().empty()) {
                subsystem->mutable_spec()->set_serial_number("0042");
            }
            subsystem->mutable_status()->set_firmware_revision("1");
        }
        if (auto* controller = dynamic_cast<opi::NvmeController*>(&made)) {
            controller->mutable_spec()->set_nvme_controller_id(static_cast<int>(next_));
            controller->mutable_status()->set_active(true);
        }
        if (auto* space = dynamic_cast<opi::NvmeNamespace*>(&made)) {
            if (space->spec().host_nsid() == 0) {
                space->mutable_spec()->set_host_nsid(1);
            }
        }
    }

    Answer list(const Method& method, const Message& request) const {
        const Resource answer = make(method.output_type());
        const auto* parent_field = request.GetDescriptor()->FindFieldByName("parent");
        if (parent_field != nullptr && text(request, "parent").empty()) {
            return fail(grpc::StatusCode::INVALID_ARGUMENT, "missing required field: parent");
        }
        const auto* items = answer->GetDescriptor()->field(0);
        for (const auto& [key, resource] : all_) {
            if (key.first == items->message_type()->name()) {
                answer->GetReflection()->AddMessage(answer.get(), items)->CopyFrom(*resource);
            }
        }
        return done(*answer);
    }

    Answer update(const Method& method, const Message& request) {
        const Message& patch = resource_of(method, request);
        const std::string& type = patch.GetDescriptor()->name();
        const auto found = all_.find({type, text(patch, "name")});
        if (found == all_.end()) {
            return fail(grpc::StatusCode::NOT_FOUND, text(patch, "name") + " does not exist");
        }
        const auto& mask =
            dynamic_cast<const google::protobuf::FieldMask&>(request.GetReflection()->GetMessage(
                request, request.GetDescriptor()->FindFieldByName("update_mask")));
        std::string line =
            "change " + std::string(kind_of(type)->name) + " " + short_name(found->first.second);
        for (const std::string& path : mask.paths()) {
            line += " " + path;
        }
        google::protobuf::util::FieldMaskUtil::MergeOptions options;
        options.set_replace_message_fields(true);
        google::protobuf::util::FieldMaskUtil::MergeMessageTo(patch, mask, options,
                                                              found->second.get());
        log.push_back(line);
        return done(*found->second);
    }

    Answer remove(const std::string& type, const std::string& name) {
        for (const auto& [key, resource] : all_) {
            const std::string volume = volume_of(*resource);
            const bool is_volume = type == "MallocVolume" || type == "NullVolume" ||
                                   type == "AioVolume" || type == "QosVolume" ||
                                   type == "EncryptedVolume";
            if (key.second.starts_with(name + "/") ||
                (is_volume && volume == short_name(name) && key.first != type)) {
                return fail(grpc::StatusCode::FAILED_PRECONDITION, name + " is in use");
            }
        }
        ana_.erase(name);
        timings_.erase(name);
        policies_.erase(name);
        if (all_.erase({type, name}) == 0) {
            return fail(grpc::StatusCode::NOT_FOUND, name + " does not exist");
        }
        log.push_back("delete " + std::string(kind_of(type)->name) + " " + short_name(name));
        return done(google::protobuf::Empty());
    }

    Answer attach(const v1::AttachVolumeRequest& request) {
        namespace opi = opi_api::storage::v1;
        const std::string function = function_of(request).text();
        const std::string id = "attached-" + function;
        const auto made = std::make_shared<v1::Attachment>();
        made->set_name("attachments/" + function);
        *made->mutable_discovery() = request.discovery();
        made->set_volume_uuid(request.volume_uuid());
        made->set_host_function(request.host_function());
        made->set_host_virtual_function(request.host_virtual_function());
        made->set_hostnqn(request.hostnqn().empty() ? "nqn.own" : request.hostnqn());
        made->set_state(v1::Attachment::STATE_ATTACHED);
        made->set_virtio_blk("volumes/" + id);
        made->set_remote_controller("nvmeRemoteControllers/" + id);
        const auto disk = std::make_shared<opi::VirtioBlk>();
        disk->set_name(made->virtio_blk());
        const auto remote = std::make_shared<opi::NvmeRemoteController>();
        remote->set_name(made->remote_controller());
        const auto path = std::make_shared<opi::NvmePath>();
        path->set_name(remote->name() + "/nvmePaths/0");
        all_[{"Attachment", made->name()}] = made;
        all_[{"VirtioBlk", disk->name()}] = disk;
        all_[{"NvmeRemoteController", remote->name()}] = remote;
        all_[{"NvmePath", path->name()}] = path;
        log.push_back("attach " + short_name(made->name()));
        return done(*made);
    }

    Answer detach(const v1::DetachVolumeRequest& request) {
        const std::string function = request.has_name() ? short_name(request.name())
                                                        : std::to_string(request.host_function());
        all_.erase({"Attachment", "attachments/" + function});
        all_.erase({"VirtioBlk", "volumes/attached-" + function});
        all_.erase({"NvmePath", "nvmeRemoteControllers/attached-" + function + "/nvmePaths/0"});
        all_.erase({"NvmeRemoteController", "nvmeRemoteControllers/attached-" + function});
        log.push_back("detach " + function);
        return done(google::protobuf::Empty());
    }

    /// Settings of what there is; each begins as in a real daemon.
    Answer setting(const std::string& verb, const Message& request) {
        if (verb == "GetStatus") {
            v1::GetStatusResponse status;
            for (const auto& [key, resource] : all_) {
                if (key.first == "NvmeRemoteController") {
                    auto& remote = *status.add_remote_controllers();
                    remote.set_name(key.second);
                    remote.set_policy(policy_of(*resource));
                }
            }
            return done(status);
        }
        const std::string name =
            verb.ends_with("AnaState") ? text(request, "name") : text(request, "remote_controller");
        if (!has_name(name)) {
            return fail(grpc::StatusCode::NOT_FOUND, name + " does not exist");
        }
        if (verb == "SetPathPolicy") {
            policies_[name] = dynamic_cast<const v1::SetPathPolicyRequest&>(request).policy();
            log.push_back("policy " + short_name(name));
            return done(v1::PathPolicySetting());
        }
        if (verb.ends_with("AnaState")) {
            return ana(verb, name, request);
        }
        return timings(name, dynamic_cast<const v1::SetConnectionTimingsRequest&>(request));
    }

    Answer ana(const std::string& verb, const std::string& name, const Message& request) {
        if (verb == "SetAnaState") {
            const auto state = dynamic_cast<const v1::SetAnaStateRequest&>(request).ana_state();
            ana_[name] = state;
            log.push_back("ana " + short_name(name) + " " + v1::AnaState_Name(state));
        }
        v1::AnaPort port;
        port.set_name(name);
        port.set_ana_state(ana_.contains(name) ? ana_[name] : v1::ANA_STATE_OPTIMIZED);
        return done(port);
    }

    Answer timings(const std::string& name, const v1::SetConnectionTimingsRequest& request) {
        v1::ConnectionTimings& has = timings_[name];
        has.set_remote_controller(name);
        std::string set;
        const auto take = [&](const char* what, bool given, std::uint32_t asked,
                              std::uint32_t standard, std::uint32_t now) {
            set += given ? std::string(" ") + what + "=" + std::to_string(asked) : "";
            return given ? (asked == 0 ? standard : asked) : (now == 0 ? standard : now);
        };
        has.set_connect_ms(take("connect", request.has_connect_ms(), request.connect_ms(), 5'000,
                                has.connect_ms()));
        has.set_keep_alive_ms(take("keep_alive", request.has_keep_alive_ms(),
                                   request.keep_alive_ms(), 5'000, has.keep_alive_ms()));
        has.set_io_ms(take("io", request.has_io_ms(), request.io_ms(), 10'000, has.io_ms()));
        has.set_reconnect_max_ms(take("reconnect_max", request.has_reconnect_max_ms(),
                                      request.reconnect_max_ms(), 5'000, has.reconnect_max_ms()));
        if (!set.empty()) {
            log.push_back("timings " + short_name(name) + set);
        }
        return done(has);
    }

    v1::PathPolicy policy_of(const Message& remote) {
        namespace opi = opi_api::storage::v1;
        if (dynamic_cast<const opi::NvmeRemoteController&>(remote).multipath() !=
            opi::NVME_MULTIPATH_MULTIPATH) {
            return v1::PATH_POLICY_FAILOVER;
        }
        const auto found = policies_.find(text(remote, "name"));
        return found == policies_.end() ? v1::PATH_POLICY_QUEUE_DEPTH : found->second;
    }

    static std::string volume_of(const Message& resource) {
        namespace opi = opi_api::storage::v1;
        const auto* space = dynamic_cast<const opi::NvmeNamespace*>(&resource);
        return space != nullptr ? space->spec().volume_name_ref()
                                : text(resource, "volume_name_ref");
    }
    bool has_name(const std::string& name) const {
        return std::ranges::any_of(all_, [&](const auto& one) { return one.first.second == name; });
    }
    /// By id, or of a remote controller.
    bool has_volume(const std::string& reference) const {
        return has_name("volumes/" + reference) || has_name(reference) ||
               has_name("nvmeRemoteControllers/" +
                        reference.substr(0, std::min(reference.rfind('n'), reference.size())));
    }

    std::map<Key, Resource> all_;
    std::map<std::string, v1::AnaState> ana_;
    std::map<std::string, v1::ConnectionTimings> timings_;
    std::map<std::string, v1::PathPolicy> policies_;
    std::int64_t next_ = 0;
};

}  // namespace remora::cli
