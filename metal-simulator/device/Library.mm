// Compile options, libraries, functions with their constants, and pipelines.
#include <dlfcn.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "SimMetal.h"

NSString* const MTLLibraryErrorDomain = @"MTLLibraryErrorDomain";

@implementation MTLCompileOptions
- (id)init {
  self = [super init];
  fast_ = YES;
  mode_ = MTLMathModeFast;
  ver_ = MTLLanguageVersion3_1;
  return self;
}  // Metal's default is fast math
- (BOOL)fastMathEnabled {
  return fast_;
}
- (void)setFastMathEnabled:(BOOL)b {
  fast_ = b;
  mode_ = b ? MTLMathModeFast : MTLMathModeSafe;
}
- (MTLMathMode)mathMode {
  return mode_;
}
- (void)setMathMode:(MTLMathMode)m {
  mode_ = m;
  fast_ = m == MTLMathModeFast;
}
- (MTLLanguageVersion)languageVersion {
  return ver_;
}
- (void)setLanguageVersion:(MTLLanguageVersion)v {
  ver_ = v;
}
- (NSDictionary*)preprocessorMacros {
  return macros_;
}
- (void)setPreprocessorMacros:(NSDictionary*)d {
  [macros_ release];
  macros_ = [d copy];
}
- (id)copyWithZone:(NSZone*)z {
  return [self retain];
}
- (void)dealloc {
  [macros_ release];
  [super dealloc];
}
@end

@implementation MTLFunctionConstantValues
- (id)init {
  self = [super init];
  items_ = [NSMutableArray new];
  return self;
}
static size_t dtsize(MTLDataType t) {
  return t == MTLDataTypeBool ? 1 : t == MTLDataTypeHalf || t == MTLDataTypeUShort ? 2 : 4;
}
- (void)setConstantValue:(const void*)v type:(MTLDataType)t atIndex:(NSUInteger)i {
  [items_ addObject:@[ @(i), @"", [NSData dataWithBytes:v length:dtsize(t)] ]];
}
- (void)setConstantValue:(const void*)v type:(MTLDataType)t withName:(NSString*)n {
  [items_ addObject:@[ @(-1), n, [NSData dataWithBytes:v length:dtsize(t)] ]];
}
- (id)copyWithZone:(NSZone*)z {
  return [self retain];
}
- (void)dealloc {
  [items_ release];
  [super dealloc];
}
@end

@implementation SimFunction
SIM_LIVE
- (NSString*)name {
  return nm;
}
- (id<MTLDevice>)device {
  return MTLCreateSystemDefaultDevice();
}
- (void)dealloc {
  --metalsim_live;
  [nm release];
  [lib release];
  [super dealloc];
}
@end

@implementation SimPipeline
SIM_LIVE
- (NSUInteger)maxTotalThreadsPerThreadgroup {
  return msl_max_threads(fn->f);
}
- (NSUInteger)threadExecutionWidth {
  return 32;
}
- (NSUInteger)staticThreadgroupMemoryLength {
  return 0;
}
- (id<MTLDevice>)device {
  return MTLCreateSystemDefaultDevice();
}
- (void)dealloc {
  --metalsim_live;
  [fn release];
  [super dealloc];
}
@end

@interface SimLibrary : NSObject <MTLLibrary> {
 @public
  msl_lib* l;
}
@end
@implementation SimLibrary
SIM_LIVE
- (id<MTLDevice>)device {
  return MTLCreateSystemDefaultDevice();
}
- (NSArray*)functionNames {
  NSMutableArray* a = [NSMutableArray array];
  for (int i = 0; i < msl_count(l); ++i) [a addObject:[NSString stringWithUTF8String:msl_name(l, i)]];
  return a;
}
- (id<MTLFunction>)newFunctionWithName:(NSString*)n {
  msl_fn* f = msl_function(l, n.UTF8String);
  if (!f) return nil;
  SimFunction* s = [SimFunction new];
  s->f = f;
  s->nm = [n copy];
  s->lib = [self retain];
  return s;
}
- (id<MTLFunction>)newFunctionWithName:(NSString*)n constantValues:(MTLFunctionConstantValues*)v error:(NSError**)e {
  SimFunction* s = (SimFunction*)[self newFunctionWithName:n];
  if (!s) {
    if (e)
      *e = metalsim_error(MTLLibraryErrorDomain, MTLLibraryErrorFunctionNotFound,
                          std::string("no function ") + n.UTF8String);
    return nil;
  }
  for (NSArray* i in v->items_) {
    NSString* name = [i objectAtIndex:1];
    NSData* d = [i objectAtIndex:2];
    if (msl_set_constant(s->f, [[i objectAtIndex:0] intValue], name.length ? name.UTF8String : nullptr, d.bytes,
                         d.length) < 0) {
      if (e)
        *e = metalsim_error(MTLLibraryErrorDomain, MTLLibraryErrorCompileFailure, "function constant has another type");
      [s release];
      return nil;
    }
  }
  return s;
}
- (void)dealloc {
  --metalsim_live;
  [super dealloc];
}
@end

// Kernels are linked with the executor that this process has loaded.
static std::string executor_path() {
  Dl_info info;
  return dladdr((void*)&msl_open, &info) ? info.dli_fname : "libmslexec.so";
}

// METALSIM_MUTATION, "this=>that", plants a defect in every source that has `this`: tests see whether it is caught.
static std::string mutated(std::string text) {
  const std::string rule = getenv("METALSIM_MUTATION") ? getenv("METALSIM_MUTATION") : "";
  const size_t arrow = rule.find("=>");
  if (arrow == std::string::npos) return text;
  const std::string from = rule.substr(0, arrow), to = rule.substr(arrow + 2);
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

// The compiler is a program of its own; what it made is kept in METALSIM_CACHE by hash of source, options and compiler.
id<MTLLibrary> metalsim_compile(NSString* src, MTLCompileOptions* opt, NSError** e) {
  const char* dir = getenv("METALSIM_CACHE");
  std::string cache = dir ? dir : std::string([NSTemporaryDirectory() UTF8String]) + "metalsim-cache",
              text = mutated(src.UTF8String);
  bool fast = opt ? opt.fastMathEnabled : YES, check = !getenv("METALSIM_NOCHECK");
  char key[128];
  snprintf(key, sizeof key, "%016zx%zx-%d%d-" METALSIM_VERSION, std::hash<std::string>()(text), text.size(), fast,
           check);
  mkdir(cache.c_str(), 0777);
  std::string base = cache + "/" + key, so = base + ".so", log = base + ".log";
  if (access(so.c_str(), R_OK)) {
    FILE* f = fopen((base + ".metal").c_str(), "w");
    fwrite(text.data(), 1, text.size(), f);
    fclose(f);
    std::string tmp = so + "." + std::to_string(getpid());
    std::string cmd = std::string("python3 " METALSIM_DIR "/mslc --lib ") + executor_path() +
                      (check ? " --check" : "") + (fast ? " --fast-math" : "") + " -o " + tmp + " " + base +
                      ".metal >" + log + " 2>&1";
    if (system(cmd.c_str())) {
      std::string out;
      char buf[4096];
      size_t k;
      if (FILE* g = fopen(log.c_str(), "r")) {
        while ((k = fread(buf, 1, sizeof buf, g)) > 0) out.append(buf, k);
        fclose(g);
      }
      if (e) *e = metalsim_error(MTLLibraryErrorDomain, MTLLibraryErrorCompileFailure, out);
      return nil;
    }
    rename(tmp.c_str(), so.c_str());
  }
  char err[500];
  SimLibrary* l = [SimLibrary new];
  l->l = msl_open(so.c_str(), err, sizeof err);
  if (!l->l) {
    [l release];
    if (e) *e = metalsim_error(MTLLibraryErrorDomain, MTLLibraryErrorInternal, err);
    return nil;
  }
  return l;
}
