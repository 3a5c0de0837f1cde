// SPDX-License-Identifier: Apache-2.0
#include "control/audit_log.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <utility>

#include <grpc/support/time.h>
#include <grpcpp/security/auth_context.h>

#include "control/audit_text.h"
#include "core/grpc_code_name.h"
#include "core/http_peer.h"
#include "core/log.h"

namespace remora::control {

using core::ErrorKind;
using core::fail;
using core::Result;
using google::protobuf::Message;
using google::protobuf::MethodDescriptor;

namespace {

constexpr std::size_t kMessageLimit = 512;

std::int64_t nanos_of(gpr_timespec time) {
    return time.tv_sec * 1'000'000'000 + time.tv_nsec;
}

/// 2026-01-31T23:59:59.123Z
std::string utc_now() {
    using std::chrono::floor;
    const std::chrono::sys_time<std::chrono::milliseconds> now{
        std::chrono::milliseconds(nanos_of(gpr_now(GPR_CLOCK_REALTIME)) / 1'000'000)};
    const auto day = floor<std::chrono::days>(now);
    const std::chrono::year_month_day date{day};
    const std::chrono::hh_mm_ss time{now - day};
    std::array<char, 64> text{};
    (void)std::snprintf(text.data(), text.size(), "%04d-%02u-%02uT%02d:%02d:%02d.%03dZ",
                        static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                        static_cast<unsigned>(date.day()), static_cast<int>(time.hours().count()),
                        static_cast<int>(time.minutes().count()),
                        static_cast<int>(time.seconds().count()),
                        static_cast<int>(time.subseconds().count()));
    return text.data();
}

std::string head(std::uint64_t number, const char* event) {
    return "{\"seq\":" + std::to_string(number) + R"(,"event":")" + event + R"(","time":")" +
           utc_now() + '"';
}

void add(std::string& line, const char* key, std::string_view text, std::size_t limit) {
    if (!text.empty()) {
        line += std::string(",\"") + key + "\":";
        append_json_text(line, text, limit);
    }
}

void add_call(std::string& line,
              const MethodDescriptor& method,
              const AuditCaller& caller,
              const std::string& resource) {
    line += ",\"method\":\"" + method.full_name() + '"';
    add(line, "via", caller.via, kAuditTextLimit);
    add(line, "peer", caller.peer, kAuditTextLimit);
    add(line, "identity", caller.identity, kAuditTextLimit);
    add(line, "resource", resource, kAuditTextLimit);
}

/// gRPC writes "ipv4:127.0.0.1:1" and "ipv6:%5B::1%5D:1".
std::string address_of(std::string_view peer) {
    for (const std::string_view scheme : {"ipv4:", "ipv6:"}) {
        if (peer.starts_with(scheme)) {
            peer.remove_prefix(scheme.size());
        }
    }
    std::string out;
    while (!peer.empty()) {
        if (peer.starts_with("%5B") || peer.starts_with("%5D")) {
            out += peer[2] == 'B' ? '[' : ']';
            peer.remove_prefix(3);
        } else {
            out += peer.front();
            peer.remove_prefix(1);
        }
    }
    return out;
}

}  // namespace

AuditCaller caller_of(const grpc::ServerContext& context, bool in_process) {
    AuditCaller caller{"grpc", address_of(context.peer()), ""};
    if (in_process) {
        const auto& metadata = context.client_metadata();
        const auto found = metadata.find(core::kHttpPeerKey);
        if (found != metadata.end()) {
            caller.via = "rest";
            caller.peer.assign(found->second.data(), found->second.size());
        }
    }
    const auto secure = context.auth_context();
    if (secure != nullptr && secure->IsPeerAuthenticated()) {
        for (const auto& name : secure->GetPeerIdentity()) {
            caller.identity += caller.identity.empty() ? "" : ",";
            caller.identity.append(name.data(), name.size());
        }
    }
    return caller;
}

void AuditEntry::end(const grpc::Status& status, const Message& response, bool client_gone) {
    if (log_ == nullptr) {
        return;
    }
    const auto log = std::exchange(log_, nullptr);
    if (status.ok()) {
        if (auto made = audited_resource(response); !made.empty()) {
            resource_ = std::move(made);
        }
    }
    std::string line = head(number_, "end");
    add_call(line, *method_, caller_, resource_);
    line += R"(,"code":")";
    line += core::grpc_code_name(status.error_code());
    line += '"';
    add(line, "message", status.error_message(), kMessageLimit);
    const std::int64_t took = nanos_of(gpr_now(GPR_CLOCK_MONOTONIC)) - began_ns_;
    line += ",\"us\":" + std::to_string(std::max<std::int64_t>(took, 0) / 1000);
    if (client_gone) {
        line += R"(,"client":"gone")";
    }
    line += "}\n";
    if (!log->append(line, false)) {
        log::warn("audit record lost", log::kv("record", line.substr(0, line.size() - 1)));
    }
}

Result<std::shared_ptr<AuditLog>> AuditLog::start(std::unique_ptr<AuditSink> sink,
                                                  std::uint64_t last_number) {
    std::shared_ptr<AuditLog> log(new AuditLog(std::move(sink), last_number));
    if (auto wrote = log->append(head(++log->last_number_, "start") + "}\n", true); !wrote) {
        return fail("audit log", wrote.error());
    }
    return log;
}

Result<AuditEntry> AuditLog::begin(AuditCaller caller,
                                   const MethodDescriptor& method,
                                   const Message& request) {
    AuditEntry entry;
    entry.number_ = ++last_number_;
    entry.began_ns_ = nanos_of(gpr_now(GPR_CLOCK_MONOTONIC));
    entry.method_ = &method;
    entry.caller_ = std::move(caller);
    entry.resource_ = audited_resource(request);
    std::string line = head(entry.number_, "begin");
    add_call(line, method, entry.caller_, entry.resource_);
    const AuditText text = audit_text(request);
    line += ",\"request\":" + text.json + (text.cut ? ",\"cut\":true}\n" : "}\n");
    if (auto wrote = append(line, true); !wrote) {
        return fail(
            ErrorKind::ResourceExhausted,
            "nothing was done, because the audit log cannot be written: " + wrote.error().message);
    }
    entry.log_ = shared_from_this();
    return entry;
}

Result<void> AuditLog::append(const std::string& line, bool durable) {
    auto wrote = sink_->append(line, durable);
    const bool failed = !wrote;
    if (failing_.exchange(failed) != failed) {
        if (failed) {
            log::error("audit log cannot be written; changes are refused until it can",
                       log::kv("error", wrote.error().message));
        } else {
            log::info("audit log is written again");
        }
    }
    return wrote;
}

}  // namespace remora::control
